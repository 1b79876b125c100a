"""Errors of poses before and after `pose.alignment`, from starts with errors of a known size, on objects of `scenes`.

    python benchmarks/pose_alignment.py        3 min of processor time

No network takes part: true poses are turned and moved at random, so that the result is a limit for networks with such
errors. The last row starts from random rotations.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from danlu.data.annotations import Annotation
from danlu.data.sources.named.scenes import SIDE, camera_of, draw
from danlu.detection.pose_detector import SURFACE_POINTS
from danlu.detection.posecnn import SEARCHED
from danlu.pose.alignment import ObjectCrops, aligned, best_aligned, turned_to_match
from danlu.pose.evaluation import TrueObjects, pose_errors, pose_metrics
from danlu.pose.rotation_anchors import spread_rotations
from danlu.pose.rotations import from_axis_angle, random_rotations
from danlu.pose.self_occlusion import unhidden
from danlu.pose.shading import Surfaces
from danlu.pose.solids import solids

CAMERA = torch.from_numpy(camera_of(SIDE)).float()
START = ((7.3, 1.3, 0.036), (10, 1.6, 0.05), (15, 2.2, 0.07))  # mean errors: degrees, pixels, fraction of the depth
BLIND = (2.4, 0.05)  # pixels and depth of the last row


def moved_at_random(poses: Tensor, degrees: float, pixels: float, depth: float, generator: torch.Generator) -> Tensor:
    """Poses (n, 3, 4) with errors of these means."""
    # Mean length of a normal vector of three, two and one dimensions: 1.6, 1.25 and 0.8 standard deviations.
    numbers = torch.randn(len(poses), 6, generator=generator)
    turn = numbers[:, :3] * math.radians(degrees) / 1.6
    z = poses[:, 2:, 3] * (numbers[:, 5:] * depth / 0.8).exp()
    ray = poses[:, :2, 3] / poses[:, 2:, 3] + numbers[:, 3:5] * pixels / 1.25 / CAMERA[0, 0]
    rotation = from_axis_angle(turn, turn.norm(dim=-1).clamp(min=1e-9)) @ poses[..., :3]
    return torch.cat((rotation, torch.cat((ray * z, z), 1)[..., None]), -1)


def metrics(annotations: Sequence[Annotation], poses: Tensor) -> dict[str, float]:
    """Metrics of estimates (n, 3, 4), those of all images after one another."""
    found, truth = [], []
    for one, own in zip(annotations, poses.split([len(one) for one in annotations])):
        assert one.rigid is not None
        real = torch.cat((one.rigid.rotations, one.rigid.translations[..., None]), -1)
        found.append((one.labels, torch.ones(len(one)), own))
        truth.append(TrueObjects(one.labels, real, one.rigid.visible, one.rigid.camera, SIDE))
    return pose_metrics(pose_errors(found, truth, solids()))


def rows(count: int) -> Iterator[tuple[str, dict[str, float], dict[str, float], float]]:
    """Name, metrics before and after, and milliseconds of processor time per object."""
    images, annotations, _ = draw(count, SIDE, seed=900)
    inputs = (images.float() / 255 - 0.5) / 0.25
    labels = torch.cat([one.labels for one in annotations])
    image = torch.cat([torch.full((len(one),), i) for i, one in enumerate(annotations)])
    rigid = [one.rigid for one in annotations if one.rigid is not None]
    poses = torch.cat([torch.cat((one.rotations, one.translations[..., None]), -1) for one in rigid])
    models = torch.stack([torch.stack(model.mesh.spread_surface(SURFACE_POINTS)).float() for model in solids()])
    hidden = torch.stack([unhidden(*model[:2]) for model in models])
    surfaces, cameras = Surfaces.of(models, hidden, labels), CAMERA.expand(len(labels), 3, 3)
    for degrees, pixels, depth in (*START, (0.0, *BLIND)):
        generator = torch.Generator().manual_seed(1)
        start = moved_at_random(poses, degrees, pixels, depth, generator)
        if not degrees:
            start[..., :3] = random_rotations(len(start), generator).float()
        began = time.process_time()
        crops = ObjectCrops.around(inputs, image, cameras, surfaces, start)
        if degrees:
            better = aligned(crops, start)
        else:
            better = best_aligned(crops, *turned_to_match(crops, start, spread_rotations(SEARCHED)))
        spent = 1000 * (time.process_time() - began) / len(start)
        name = f"{degrees:g} degrees" if degrees else "any rotation"
        yield f"{name}, {pixels} px, {depth:.1%}", metrics(annotations, start), metrics(annotations, better), spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    options = parser.parse_args()
    print("| mean errors of the start | ADD(-S) < 0.1 d | after alignment | rotation | centre | depth | per object |")
    print("|---|---|---|---|---|---|---|")
    for name, before, after, spent in rows(options.images):
        errors = f"{after['rotation']:.1f} degrees | {after['centre']:.2f} px | {after['depth']:.1%}"
        print(
            f"| {name} | {before['add_s_01d']:.1%} | {after['add_s_01d']:.1%} | {errors} | {spent:.0f} ms |", flush=True
        )


if __name__ == "__main__":
    main()

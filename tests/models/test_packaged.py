"""The packaged ImageNet weights against timm's network."""

import dataclasses

import pytest
import timm
import torch
from sklearn.datasets import load_sample_image
from torch.nn.functional import interpolate

from danlu.models.packaged import EFFICIENTNET_LITE0
from danlu.refuse import Refusal

PALACE, DAISY = (
    698,
    985,
)  # classes of ImageNet: china.jpg shows a palace, flower.jpg a dahlia, which is nearest to a daisy


@pytest.mark.parametrize(("photograph", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
def test_the_network_recognises_a_photograph(photograph, label):
    found = EFFICIENTNET_LITE0.load()
    model = timm.create_model(EFFICIENTNET_LITE0.network).eval()
    model.load_state_dict(found.state)
    image = torch.tensor(load_sample_image(photograph)).permute(2, 0, 1)[None].float() / 255
    image = interpolate(image[..., 100:527], size=(224, 224), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (found.mean, found.std))
    with torch.no_grad():
        assert model((image - mean) / std).argmax().item() == label


def test_a_missing_package_and_a_changed_file_are_refused(tmp_path):
    missing = dataclasses.replace(EFFICIENTNET_LITE0, package="no_such_package")
    assert missing.path is None
    with pytest.raises(Refusal, match="pip install efficientnet-lite0"):
        missing.load()
    with pytest.raises(Refusal, match="SHA-256"):
        dataclasses.replace(EFFICIENTNET_LITE0, sha256="0" * 64).load()

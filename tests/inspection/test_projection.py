"""Principal components, t-SNE and nearest neighbours of features, against scikit-learn and groups made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn

from danlu.inspection.activations import captured, find_layer, pooled
from danlu.inspection.projection import nearest, project, same_class
from danlu.refuse import Refusal


@pytest.fixture
def groups():
    """Three groups of 20 samples around far directions."""
    rng = np.random.default_rng(0)
    centres = 5 * np.eye(3, 6)
    return np.concatenate([centre + rng.normal(0, 0.3, (20, 6)) for centre in centres]), np.repeat([0, 1, 2], 20)


def test_components_are_those_of_scikit_learn(groups):
    found, theirs = project(groups[0]), PCA(2).fit(groups[0])
    assert np.abs(found.pca) == pytest.approx(np.abs(theirs.transform(groups[0])), abs=1e-9)
    assert found.explained == pytest.approx(tuple(theirs.explained_variance_ratio_))


def test_neighbours_by_cosine_without_the_sample_itself(groups):
    features, labels = groups
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    similar = unit @ unit.T
    np.fill_diagonal(similar, -np.inf)
    assert (nearest(features, 5) == np.argsort(-similar, 1)[:, :5]).all()
    assert same_class(nearest(features, 5), labels) == 1.0


def test_tsne_keeps_groups_apart(groups):
    features, labels = groups
    places = project(features).tsne
    assert same_class(_near(places), labels) > 0.95
    assert (places == project(features).tsne).all(), "equal seeds, equal maps"


def _near(places: np.ndarray) -> np.ndarray:
    apart = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(apart, np.inf)
    return np.argsort(apart, 1)[:, :5]


def test_equal_features_and_single_numbers_give_a_map():
    assert (project(np.ones((12, 4))).tsne == 0).all()
    found = project(np.arange(12.0)[:, None])
    assert found.pca.shape == found.tsne.shape == (12, 2)
    assert found.explained == (1.0, 0.0)


def test_maps_and_tokens_are_averaged_over_positions():
    maps = torch.arange(24.0).view(2, 3, 2, 2)
    assert pooled(maps, 2, "x").tolist() == maps.mean((2, 3)).tolist()
    tokens = torch.arange(12.0).view(2, 3, 2)
    assert pooled(tokens, 2, "x").tolist() == tokens.mean(1).tolist()
    for wrong in (torch.zeros(3, 4), torch.zeros(2), [maps]):
        with pytest.raises(Refusal, match="one row for each sample"):
            pooled(wrong, 2, "regions")


def test_a_layer_is_found_by_its_name_and_gives_input_or_output():
    network = nn.Sequential(nn.Linear(3, 2), nn.ReLU(inplace=True))
    rows = torch.randn(4, 3)
    with captured(find_layer(network, "0")) as found:
        network(rows)
    with captured(find_layer(network, "0"), inputs=True) as given:
        network(rows)
    assert torch.equal(found[0], network[0](rows)), "before the next layer changes it"
    assert torch.equal(given[0], rows)
    assert not network[0]._forward_hooks
    with pytest.raises(Refusal, match=r"--layer must be a layer of the network \(0, 1"):
        find_layer(network, "2")

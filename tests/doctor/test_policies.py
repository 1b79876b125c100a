"""Policy gradients: the sign of the term that multiplies log-probabilities by rewards."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from test_handwriting import found_in
from torch import Tensor, nn
from torch.distributions import Bernoulli, Categorical, Independent, Normal

from danlu.doctor.instruments.policy_gradient import correlation, names_rewards
from danlu.doctor.observation.variables import as_numbers

STATES, ACTIONS = 6, 4
MEANS = torch.rand(STATES, ACTIONS, generator=torch.Generator().manual_seed(0))


def batch() -> tuple[Tensor, Tensor]:
    states = torch.randint(STATES, (32,))
    return states, nn.functional.one_hot(states, STATES).float()


class Agent:
    """A policy with its optimiser; `sign` is -1 where rewarded actions become more probable."""

    def __init__(self, sign: int) -> None:
        self.policy = nn.Sequential(nn.Linear(STATES, 16), nn.Tanh(), nn.Linear(16, ACTIONS))
        self.optimizer = torch.optim.Adam(self.policy.parameters(), 0.01)
        self.sign = sign
        self.rewards: list[float] = []

    def act_one_by_one(self) -> None:
        terms, (states, inputs) = [], batch()
        self.rewards = []
        for state, one in zip(states, inputs):
            actions = Categorical(logits=self.policy(one))
            action = actions.sample()
            self.rewards.append(float(MEANS[state, action] + 0.1 * torch.randn(())))
            terms.append(actions.log_prob(action))
        self.step(torch.stack([self.sign * term * one for term, one in zip(terms, self.rewards)]).sum())

    def act_in_batches(self) -> None:
        states, inputs = batch()
        actions = Categorical(logits=self.policy(inputs))
        action = actions.sample()
        advantages = (MEANS[states, action] - MEANS.mean()).numpy()
        self.step((self.sign * actions.log_prob(action) * torch.from_numpy(advantages)).mean())

    def act_by_hand(self) -> None:
        states, inputs = batch()
        log_probabilities = self.policy(inputs).log_softmax(1)
        action = torch.multinomial(log_probabilities.detach().exp(), 1)
        taken = log_probabilities.gather(1, action)[:, 0]
        returns = MEANS[states, action[:, 0]]
        entropy = -(log_probabilities.exp() * log_probabilities).sum(1)
        self.step((self.sign * taken * (returns - returns.mean()) - 0.01 * entropy).mean())

    def move(self) -> None:
        """Continuous actions, and a cost: what is costly shall become less probable."""
        _, inputs = batch()
        actions = Independent(Normal(self.policy(inputs), 1.0), 1)
        action = actions.sample()
        cost = action.square().sum(1)
        self.step((actions.log_prob(action) * cost).mean())

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


@pytest.mark.parametrize("way", ["act_one_by_one", "act_in_batches", "act_by_hand"])
@pytest.mark.parametrize("sign", [1, -1])
def test_rewarded_actions_have_to_become_more_probable(way: str, sign: int) -> None:
    def program() -> None:
        agent = Agent(sign)
        for _ in range(40):
            getattr(agent, way)()

    assert ("loop.wrong_sign" in found_in(program)) is (sign == 1)


def test_costly_actions_become_less_probable() -> None:
    def program() -> None:
        agent = Agent(1)
        for _ in range(40):
            agent.move()

    assert "loop.wrong_sign" not in found_in(program)


def test_environments_in_the_same_state_are_no_collapse() -> None:
    def program() -> None:
        agent = Agent(-1)
        for _ in range(40):
            scores = agent.policy(torch.eye(STATES)[:1].expand(16, -1))
            actions = Categorical(logits=scores)
            action = actions.sample()
            rewards = MEANS[0, action]
            agent.step(-(actions.log_prob(action) * (rewards - rewards.mean())).mean())

    assert "activation.collapsed" not in found_in(program)


def test_methods_of_torch_are_put_back() -> None:
    kinds = (Categorical, Bernoulli, Normal, Independent)
    before = [kind.log_prob for kind in kinds]
    found_in(lambda: Agent(-1).act_in_batches())
    assert [kind.log_prob for kind in kinds] == before


@pytest.mark.parametrize(
    ("name", "found"),
    [
        *[(name, True) for name in ("rewards", "discounted_returns", "adv", "batch_rtgs", "advantages_t")],
        *[(name, False) for name in ("reward_loss", "costs", "mean_reward", "adventure", "returned", "reward_cost")],
    ],
)
def test_names_of_rewards(name: str, found: bool) -> None:
    assert names_rewards(name) is found


def test_gradients_of_a_sequence_belong_to_the_reward_of_the_sequence() -> None:
    rewards = torch.tensor([1.0, 2.0, 3.0, 5.0], dtype=torch.float64)
    assert correlation([-rewards[:, None].expand(4, 7)], rewards) == pytest.approx(-1)
    assert correlation([*(2 * rewards)], rewards) == pytest.approx(1)
    assert correlation([torch.ones(4)], rewards) is None, "the same for all actions"
    assert correlation([torch.ones(3)], rewards) is None


def test_numbers_of_variables() -> None:
    for value in ([1, 2.0, torch.tensor(3.0)], np.array([[1], [2], [3]]), torch.tensor([1, 2, 3])):
        found = as_numbers(value)
        assert found is not None
        assert found.tolist() == [1, 2, 3]
    assert as_numbers(["a"]) is None
    assert as_numbers("123") is None
    assert as_numbers(torch.zeros(20_000)) is None

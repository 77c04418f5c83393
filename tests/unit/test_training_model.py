"""The model's parts: trees say, heads correct, and their mean is the score."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from training.model import Classifier, ClassifierConfig, build, merge_adapters, weighed


@pytest.fixture(scope="module")
def model() -> Classifier:
    """Three heads over four features and a small encoder with random weights."""
    torch.manual_seed(0)
    shape = BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    ).to_dict()
    made = Classifier(ClassifierConfig(shape, features=4, hidden=5, heads=3))
    made.train(False)
    return made


def test_a_new_model_says_what_its_trees_say(model: Classifier) -> None:
    """The correction must start from nothing: a head of random weights would first have to be unlearned."""
    habit = torch.tensor([-2.0, 0.5])

    assert torch.equal(model.judge(torch.randn(2, 8), torch.randn(2, 4), habit), habit)


def test_the_score_is_the_mean_of_heads_that_differ(model: Classifier) -> None:
    """Heads that agree always are one head; and no single one may decide."""
    torch.manual_seed(1)
    for head in model.heads:
        torch.nn.init.normal_(list(head.parameters())[-2])
    given = torch.randn(6, 8), torch.randn(6, 4), torch.zeros(6)

    each, together = model.opinions(*given), model.judge(*given)

    assert each.shape == (6, 3)
    assert each.std(dim=1).min() > 0
    assert torch.allclose(together, each.mean(dim=1))


def test_pairs_of_one_mail_share_its_words(model: Classifier) -> None:
    """One reading serves every recipient, in training as in serving."""
    ids, mask = torch.tensor([[1, 2, 3], [4, 5, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    features = torch.randn(3, 4)

    grouped = model(ids, mask, features, mail=torch.tensor([1, 0, 1])).logits
    alone = model(ids[[1, 0, 1]], mask[[1, 0, 1]], features).logits

    assert torch.allclose(grouped, alone, atol=1e-6)


def test_a_batch_without_pairs_or_without_asides_has_a_loss(model: Classifier) -> None:
    """Batches are put together by length, not by kind."""
    ids, mask = torch.tensor([[1, 2]]), torch.ones(1, 2, dtype=torch.long)
    nothing = torch.zeros(0)
    aside = model(
        ids, mask, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), nothing, nothing,
        torch.tensor([1]), torch.tensor([1]),
    )  # fmt: skip
    pair = model(
        ids, mask, torch.zeros(1, 4), torch.tensor([0]), torch.zeros(1), torch.ones(1),
        torch.tensor([-1]), torch.tensor([-1]),
    )  # fmt: skip

    assert float(aside.loss) > 0
    assert float(pair.loss) > 0


def test_hidden_history_moves_no_head(model: Classifier) -> None:
    """The experiment that asks what the words know alone must not be helped."""
    words = copy.deepcopy(model)
    for head in words.heads:
        torch.nn.init.normal_(list(head.parameters())[-2])
    words.hide_history()
    pooled, habit = torch.randn(1, 8).expand(2, 8), torch.zeros(2)

    first, second = words.judge(pooled, torch.tensor([[0.0, 1.0, 2.0, 3.0], [9e6, -5.0, 0.0, 7.0]]), habit)

    assert float(first) == pytest.approx(float(second), abs=1e-6)
    assert float(first) != 0.0


def test_an_urgent_pair_weighs_as_many() -> None:
    """One urgent pair that weighs three is three of them."""
    logits, targets = torch.tensor([0.3, -1.0]), torch.tensor([1.0, 0.0])

    once, thrice = (weighed(logits, targets, weight) for weight in (1.0, 3.0))
    repeated = weighed(logits[[0, 0, 0, 1]], targets[[0, 0, 0, 1]], 1.0)

    assert float(thrice) * 2 == pytest.approx(float(repeated) * 4)
    assert float(thrice) > float(once)


def test_merged_adapters_say_what_they_said(tmp_path: Path) -> None:
    """What is exported is the encoder itself; adapters that were left behind would be training for nothing."""
    shape = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(shape).save_pretrained(tmp_path)
    model = build(str(tmp_path), 4, hidden=5, heads=1, dropout=0.0, freeze="all but adapters")
    learning = [name for name, weights in model.encoder.named_parameters() if weights.requires_grad]
    model.train(False)
    ids, mask = torch.tensor([[1, 2, 3]]), torch.ones(1, 3, dtype=torch.long)
    untouched = model.embed(ids, mask)
    for name, weights in model.encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights)

    tuned = model.embed(ids, mask)
    merge_adapters(model)

    assert learning
    assert all("lora_" in name for name in learning)
    assert not torch.allclose(untouched, tuned, atol=1e-4)
    assert torch.allclose(model.embed(ids, mask), tuned, atol=1e-5)
    assert isinstance(model.encoder, BertModel)

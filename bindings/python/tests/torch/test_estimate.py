"""Saliences that need more than a backward pass, against closed forms in float64."""

import copy

import pytest
import torch
from torch import nn

import speft
from speft.torch import SparseAdapter


class Small:
    """Two layers, small enough for a whole Hessian, and batches of different sizes for them."""

    names = ("0.weight", "2.weight")

    def __init__(self):
        torch.manual_seed(3)
        self.model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
        self.exact = copy.deepcopy(self.model).double()
        self.batches = [(torch.randn(size, 4), torch.randn(size, 3)) for size in (6, 2, 9)]
        self.sizes = [6.0, 2.0, 9.0]

    def loss(self, batch):
        return nn.functional.mse_loss(self.model(batch[0]), batch[1])

    def exact_loss(self, batch, weights):
        inputs, wanted = batch
        hidden = torch.tanh(nn.functional.linear(inputs.double(), weights[0], self.exact[0].bias))
        outputs = nn.functional.linear(hidden, weights[1], self.exact[2].bias)
        return nn.functional.mse_loss(outputs, wanted.double())

    @property
    def weights(self):
        return [self.exact.get_parameter(name) for name in self.names]

    def mean_loss(self, weights):
        losses = [self.exact_loss(batch, weights) for batch in self.batches]
        return sum(size * loss for size, loss in zip(self.sizes, losses, strict=True)) / sum(self.sizes)

    def adapter(self, selection, **options):
        options = {"scope": "global", "budget": 12, **options}
        return SparseAdapter(self.model, self.names, selection=selection, **options)

    def select(self, adapter):
        adapter.estimate(self.loss, iter(self.batches), weight=lambda batch: len(batch[0]))
        assert all(parameter.grad is None for parameter in self.model.parameters())
        adapter.select()
        return torch.cat([adapter.masks["0.weight"], adapter.masks["2.weight"] + 20]).tolist()


@pytest.fixture
def small():
    return Small()


def largest(scores, count):
    return (
        torch.cat([score.detach().flatten() for score in scores]).topk(count).indices.sort().values.tolist()
    )


@pytest.mark.parametrize(("selection", "sign"), [("grasp", -1), ("grasp-code", 1)])
@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_grasp(small, selection, sign, gradient):
    weights = small.weights
    flat = torch.cat([weight.detach().flatten() for weight in weights])

    def loss(flat):
        return small.mean_loss([flat[:20].view(5, 4), flat[20:].view(3, 5)])

    product = torch.autograd.functional.hessian(loss, flat) @ torch.autograd.functional.jacobian(loss, flat)
    assert small.select(small.adapter(selection, gradient=gradient)) == largest([sign * product * flat], 12)


def test_fisher_of_each_example(small):
    squares = [torch.zeros_like(weight) for weight in small.weights]
    for inputs, wanted in small.batches:
        for example in zip(inputs.split(1), wanted.split(1), strict=True):
            gradients = torch.autograd.grad(small.exact_loss(example, small.weights), small.weights)
            squares = [square + gradient**2 for square, gradient in zip(squares, gradients, strict=True)]
    assert small.select(small.adapter("fisher")) == largest(squares, 12)


def test_fisher_of_examples_with_several_tokens():
    layer = nn.Sequential(nn.Linear(4, 3))
    inputs, wanted = torch.randn(5, 7, 4), torch.randn(5, 7, 3)
    squares = torch.zeros(3, 4)
    for example in range(5):
        loss = nn.functional.mse_loss(layer(inputs[example]), wanted[example])
        squares += torch.autograd.grad(loss, layer[0].weight)[0] ** 2
    adapter = SparseAdapter(layer, ["0.weight"], selection="fisher", budget=5)
    adapter.estimate(lambda batch: nn.functional.mse_loss(layer(inputs[batch]), wanted[batch]), [slice(None)])
    adapter.select()
    assert adapter.masks["0.weight"].tolist() == largest([squares], 5)


def test_fisher_of_batches_from_dense_gradients(small):
    squares = [torch.zeros_like(weight) for weight in small.weights]
    for batch, size in zip(small.batches, small.sizes, strict=True):
        gradients = torch.autograd.grad(small.exact_loss(batch, small.weights), small.weights)
        squares = [square + size * gradient**2 for square, gradient in zip(squares, gradients, strict=True)]
    assert small.select(small.adapter("fisher", gradient="dense")) == largest(squares, 12)


def test_wanda(small):
    inputs = torch.cat([inputs for inputs, _ in small.batches]).double()
    hidden = torch.tanh(nn.functional.linear(inputs, small.weights[0], small.exact[0].bias))
    scores = [
        weight.abs() * x.square().sum(0).sqrt()
        for weight, x in zip(small.weights, (inputs, hidden), strict=True)
    ]
    assert small.select(small.adapter("wanda")) == largest(scores, 12)
    with pytest.raises(speft.InvalidArgument, match=r"wanda.*gradient='activations'"):
        small.adapter("wanda", gradient="dense")


def test_means_of_absolute_gradients(small):
    scores = [torch.zeros_like(weight) for weight in small.weights]
    for batch, size in zip(small.batches, small.sizes, strict=True):
        gradients = torch.autograd.grad(small.exact_loss(batch, small.weights), small.weights)
        scores = [score + size * gradient.abs() for score, gradient in zip(scores, gradients, strict=True)]
    assert small.select(small.adapter("gradient", mean="absolute")) == largest(scores, 12)


# ---- SynFlow ----


@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_synflow_of_two_layers(small, gradient):
    """R = 1ᵀ|W2||W1|1, whatever the biases and the activation."""
    first, second = (weight.abs() for weight in small.weights)
    scores = [first * second.sum(0)[:, None], second * first.sum(1)]
    assert small.select(small.adapter("synflow", gradient=gradient)) == largest(scores, 12)


class Parts(nn.Module):
    """One of many a part of a model, hand-written and not."""

    def __init__(self, attention):
        super().__init__()
        self.table = nn.Embedding(11, 8)
        self.norm = nn.LayerNorm(8)
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.attention = attention
        self.idle = nn.Parameter(torch.tensor([-float("nan"), float("nan"), -0.0, -float("inf")]))

    def forward(self, tokens):
        x = self.norm(self.table(tokens))
        x = nn.functional.dropout(nn.functional.gelu(x), 0.5)
        return self.attention(self.query(x), self.key(x), self.value(x))


def by_hand(query, key, value):
    return torch.softmax(query @ key.transpose(-1, -2) / 8**0.5, dim=-1) @ value


@pytest.mark.parametrize("attention", [nn.functional.scaled_dot_product_attention, by_hand])
def test_synflow_through_attention(attention):
    """Ones over their root mean square, times |γ|, come in; values are averaged, the rest is cut off."""
    model = Parts(attention)
    with torch.no_grad():
        model.norm.weight.uniform_(-2, 2)
        model.value.weight[0, 0] = -0.0
    before = bits_of(model)
    adapter = SparseAdapter(
        model, ["query.weight", "key.weight", "value.weight"], selection="synflow", budget=20
    )
    tokens = torch.randint(0, 11, (2, 5))
    adapter.estimate(lambda batch: model(batch).square().mean(), [tokens])
    assert bits_of(model) == before
    adapter.select()
    assert [mask.numel() for mask in adapter.masks.values()] == [0, 0, 20]
    score = model.value.weight.abs() * model.norm.weight.abs()
    assert adapter.masks["value.weight"].tolist() == largest([score], 20)


def bits_of(model):
    return {name: weight.detach().view(torch.int32).tolist() for name, weight in model.named_parameters()}


def test_synflow_of_torchs_own_attention():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)

        def forward(self, x):
            return self.inner(x)

    model = Layer()
    names = ["inner.self_attn.in_proj_weight", "inner.linear1.weight"]
    adapter = SparseAdapter(model, names, selection="synflow", budget=150, gradient="dense")
    adapter.estimate(lambda batch: model(batch).sum(), [torch.randn(2, 5, 8)])
    adapter.select()
    assert (adapter.masks[names[0]] >= 2 * 64).all()  # rows of values, after those of queries and keys
    assert adapter.masks[names[0]].numel() > 0


@pytest.mark.parametrize("kind", ["bert", "llama", "gpt2"])
def test_synflow_of_transformers(kind):
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 20, "max_position_embeddings": 8}
    wide = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2}
    if kind == "bert":
        model = transformers.BertForSequenceClassification(transformers.BertConfig(**sizes, **wide))
        cut_off, kept = ["*.query.weight", "*.key.weight"], ["*.value.weight", "*.intermediate.dense.weight"]
    elif kind == "llama":
        config = transformers.LlamaConfig(**sizes, **wide, num_key_value_heads=1)
        model = transformers.LlamaForSequenceClassification(config)
        model.config.pad_token_id = 0
        cut_off, kept = ["*.q_proj.weight", "*.k_proj.weight"], ["*.v_proj.weight", "*.up_proj.weight"]
    else:
        config = transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=2, n_head=2)
        model = transformers.GPT2LMHeadModel(config)
        cut_off, kept = [], ["*.c_fc.weight", "*.mlp.c_proj.weight"]
    before = bits_of(model)
    adapter = SparseAdapter(model, [*cut_off, *kept], selection="synflow", scope="per-tensor", density=0.3)
    tokens = torch.randint(1, 20, (2, 6))
    labels = tokens if kind == "gpt2" else torch.tensor([0, 1])
    adapter.estimate(lambda batch: model(input_ids=batch, labels=labels).loss, [tokens])
    assert bits_of(model) == before
    adapter.select()
    for name, mask in adapter.masks.items():
        # Where all scores are 0 the first indices are taken.
        zero = any(part in name for part in ("query", "key", "q_proj", "k_proj"))
        assert (mask.tolist() == list(range(mask.numel()))) == zero, name


def test_synflow_restores_the_weights_when_the_host_raises(small):
    adapter = small.adapter("synflow")
    before = bits_of(small.model)

    def fail(batch):
        small.loss(batch)
        raise KeyError("from the loss")

    with pytest.raises(KeyError, match="from the loss"):
        adapter.estimate(fail, small.batches)
    assert bits_of(small.model) == before
    with pytest.raises(speft.InvalidState):
        adapter.select()
    small.select(adapter)


@pytest.mark.parametrize("value", [1e30, float("nan")])
def test_synflow_that_is_not_finite(small, value):
    with torch.no_grad():
        small.model[0].weight.mul_(1e30)
        small.model[2].weight[0] = value
    before = bits_of(small.model)
    with pytest.raises(speft.InvalidArgument, match=r"synflow.*finite.*(inf|nan)"):
        small.adapter("synflow").estimate(small.loss, small.batches)
    assert bits_of(small.model) == before


def test_synflow_needs_the_model(small):
    other = copy.deepcopy(small.model)
    with pytest.raises(speft.InvalidArgument, match="call the model"):
        small.adapter("synflow").estimate(lambda batch: other(batch[0]).sum(), small.batches)


# ---- all of them ----


@pytest.mark.parametrize("selection", ["gradient", "fisher", "wanda", "synflow", "grasp"])
def test_an_estimation_without_a_batch_is_refused(small, selection):
    adapter = small.adapter(selection)
    with pytest.raises(speft.InvalidArgument, match=r"batches.*at least one"):
        adapter.estimate(small.loss, [])
    with pytest.raises(speft.InvalidState):
        adapter.select()
    small.select(adapter)


@pytest.mark.parametrize("selection", ["random", "magnitude", "low-rank", "weight-change", "spiel-ag"])
def test_where_no_batch_is_needed_nothing_runs(small, selection):
    def fail(batch):
        raise AssertionError

    small.adapter(selection, budget=3).estimate(fail, small.batches)


@pytest.mark.parametrize("selection", ["gradient", "grasp"])
@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_a_failing_loss_leaves_nothing_behind(small, selection, gradient):
    def fail(batch):
        if batch is small.batches[1]:
            raise KeyError("from the loss")
        return small.loss(batch)

    adapter = small.adapter(selection, gradient=gradient)
    with pytest.raises(KeyError, match="from the loss"):
        adapter.estimate(fail, small.batches)
    mask = small.select(adapter)
    assert adapter.info.observations == 3
    adapter.close()
    assert mask == small.select(small.adapter(selection, gradient=gradient))


@pytest.mark.parametrize("selection", ["gradient", "grasp", "fisher"])
def test_targets_past_the_loss_are_named(small, selection):
    adapter = small.adapter(selection)
    with pytest.raises(speft.InvalidState, match=r"'2\.weight'"):
        adapter.estimate(lambda batch: small.model[0](batch[0]).sum(), small.batches)


def test_estimating_is_a_loop_of_observing(small):
    adapter = small.adapter("snip")
    for batch, size in zip(small.batches, small.sizes, strict=True):
        small.loss(batch).backward()
        adapter.observe(size)
    adapter.select()
    masks = adapter.masks
    adapter.unmerge()
    adapter.close()
    adapter = small.adapter("snip")
    small.select(adapter)
    assert all(torch.equal(adapter.masks[name], masks[name]) for name in small.names)


def test_after_a_selection_that_stays_there_is_nothing_to_estimate(small):
    adapter = small.adapter("gradient")
    small.select(adapter)
    with pytest.raises(speft.InvalidState):
        adapter.estimate(small.loss, small.batches)


# ---- what the host brings ----


def test_a_score_of_ones_own(small):
    seen = {}

    def score(name, weight, gradient):
        seen[name] = gradient.clone()
        return gradient.abs() / weight.abs()

    adapter = small.adapter(score)
    mask = small.select(adapter)
    gradients = torch.autograd.grad(small.mean_loss(small.weights), small.weights)
    scores = [
        gradient.abs() / weight.abs() for gradient, weight in zip(gradients, small.weights, strict=True)
    ]
    assert mask == largest(scores, 12)
    for name, gradient in zip(small.names, gradients, strict=True):
        # A mean over 17 examples in float32.
        torch.testing.assert_close(seen[name], gradient.float(), rtol=1e-5, atol=1e-6)


def test_a_score_without_gradients(small):
    adapter = small.adapter(lambda name, weight, gradient: weight if gradient is None else None)
    adapter.select()
    masks = torch.cat([adapter.masks["0.weight"], adapter.masks["2.weight"] + 20])
    assert masks.tolist() == largest(small.weights, 12)


def test_wrong_scores(small):
    for answer, expected in ((torch.zeros(3), r"\[5, 4\].*'0.weight'.*\[3\]"), (None, "NoneType")):
        with small.adapter(lambda name, weight, gradient, answer=answer: answer) as adapter:
            with pytest.raises(speft.InvalidArgument, match=expected):
                adapter.select()
            assert not adapter.info.selected

    def fail(name, weight, gradient):
        raise KeyError("from the score")

    with small.adapter(fail) as adapter, pytest.raises(KeyError, match="from the score"):
        adapter.select()


@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_weight_change_is_of_training_in_full(small, gradient):
    original = copy.deepcopy(small.model)
    adapter = small.adapter("weight-change", gradient=gradient)
    optimizer = torch.optim.Adam([small.model.get_parameter(name) for name in small.names], lr=0.01)
    for batch in small.batches:
        optimizer.zero_grad()
        small.loss(batch).backward()
        optimizer.step()
    change = [
        (small.model.get_parameter(name) - original.get_parameter(name)).abs().detach()
        for name in small.names
    ]
    assert all(score.all() for score in change)  # no target is left out
    adapter.select()
    masks = torch.cat([adapter.masks["0.weight"], adapter.masks["2.weight"] + 20])
    assert masks.tolist() == largest(change, 12)
    assert bits_of(small.model)["0.weight"] == bits_of(original)["0.weight"]
    assert all(parameter.grad is None for parameter in small.model.parameters())

    small.loss(small.batches[0]).backward()
    assert small.model[0].weight.grad is None
    adapter.step()
    assert adapter.info.steps == 1
    adapter.unmerge()
    assert {n: b for n, b in bits_of(small.model).items() if "speft" not in n} == bits_of(original)

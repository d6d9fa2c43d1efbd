"""Models on a GPU: against the same adapters on the CPU, and against autograd."""

import copy
import os

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

import speft  # noqa: E402
from speft.torch import QuantizedLinear, SparseAdapter, quantize_layers  # noqa: E402

CUDA = next(backend for backend in speft.backends() if backend.name == "cuda")
if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)
if not CUDA.available and "cuda" not in os.environ.get("SPEFT_TEST_BACKENDS", ""):
    pytest.skip(CUDA.reason, allow_module_level=True)

GPU = torch.device("cuda", 0)
TARGETS = ["0.weight", "2.weight"]
STEPS = 6

# One rounding of float32 an operation, in the same order, on both devices.
ROUNDING = {"rtol": 2**-22, "atol": 1e-9}
# Gradients are sums in another order, relative error around 1e-6; an update, of size lr, carries that error, more
# where a gradient passes through zero.
TRAINED = {"rtol": 0, "atol": 2e-3 * 1e-2}


def make_model(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(33, 130), nn.Tanh(), nn.Linear(130, 65), nn.Tanh(), nn.Linear(65, 3)
    ).to(dtype)


class Side:
    """One of two equal models, on the CPU or on the GPU, and the same batches there."""

    def __init__(self, device, dtype=torch.float32):
        self.device = torch.device(device)
        self.model = make_model(dtype).to(device)
        self.original = copy.deepcopy(self.model)
        generator = torch.Generator().manual_seed(1)
        self.inputs = torch.randn(STEPS, 4, 8, 33, generator=generator).to(device, dtype)
        self.labels = torch.randint(0, 3, (STEPS, 32), generator=generator).to(device)

    def loss(self, index, model=None):
        logits = (model or self.model)(self.inputs[index]).flatten(0, 1)
        return nn.functional.cross_entropy(logits.float(), self.labels[index])

    def adapter(self, **options):
        options = {"density": 0.05, "dense": ["4.*"], "lr": 1e-2, "selection": "random", **options}
        return SparseAdapter(self.model, options.pop("targets", TARGETS), **options)

    def selected(self, **options):
        adapter = self.adapter(**options)
        adapter.estimate(self.loss, range(2))
        adapter.select()
        return adapter

    def train(self, adapter, steps=STEPS, first=0):
        for index in range(first, first + steps):
            self.loss(index).backward()
            adapter.step()
            adapter.zero_grad()
            if adapter.reselection_due and not adapter._selects_by_step:
                adapter.estimate(self.loss, range(2))
                adapter.reselect()
        return adapter

    def assert_original(self):
        for name, weight in self.original.state_dict().items():
            assert torch.equal(self.model.state_dict()[name], weight), name


@pytest.fixture(autouse=True)
def no_tensor_cores_of_pytorch():
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32 = before


@pytest.fixture
def gpu():
    return Side(GPU)


@pytest.fixture
def cpu():
    return Side("cpu")


def assert_close(found, expected, **tolerance):
    for name, values in expected.items():
        torch.testing.assert_close(found[name].cpu(), values.cpu(), **tolerance)


# ---- where things lie ----


def test_everything_lies_on_the_models_device(gpu):
    adapter = gpu.selected()
    assert adapter.native.context.backend == "cuda"
    gpu.loss(0).backward()
    for parameter in adapter.parameters():
        assert parameter.device == parameter.grad.device == GPU
    assert {mask.device.type for mask in adapter.masks.values()} == {"cpu"}
    assert {deltas.device for deltas in adapter.deltas.values()} == {GPU}


def test_a_model_on_two_devices_is_refused_with_names(gpu):
    gpu.model[2].cpu()
    with pytest.raises(speft.InvalidArgument, match="'0.weight' is on cuda:0, '2.weight' on cpu"):
        gpu.adapter()


def test_the_backend_must_be_that_of_the_device(gpu, cpu):
    with pytest.raises(speft.InvalidArgument, match="'cuda' or 'auto' for a model on cuda:0; got 'cpu'"):
        gpu.adapter(backend="cpu")
    with pytest.raises(speft.InvalidArgument, match="'cpu' or 'auto' for a model on cpu; got 'cuda'"):
        cpu.adapter(backend="cuda")
    assert gpu.adapter(backend="cuda").native.context.backend == "cuda"


def test_tensors_of_another_device_are_refused_by_name(gpu, cpu):
    on_gpu = speft.Adapter(speft.Context("cuda"), [speft.Parameter("w", (65, 130))], density=0.1)
    with pytest.raises(speft.InvalidArgument, match="'w' must be on cuda:0; got cpu"):
        on_gpu.bind_weights("w", cpu.model[2].weight.detach())
    on_cpu = speft.Adapter(speft.Context("cpu"), [speft.Parameter("w", (65, 130))], density=0.1)
    with pytest.raises(speft.InvalidArgument, match="'w' must be on cpu; got cuda:0"):
        on_cpu.bind_weights("w", gpu.model[2].weight.detach())


def test_a_model_that_moves_to_another_device_is_refused(gpu):
    adapter = gpu.selected()
    gpu.model.cpu()
    with pytest.raises(speft.InvalidArgument, match="'0.weight' must keep its device"):
        adapter.step()


def test_memory_is_pytorchs_own_and_comes_back(gpu):
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    adapter = gpu.train(gpu.selected(density=0.5))
    assert torch.cuda.memory_allocated() > before + 4 * adapter.info.selected_scalars
    adapter.close()
    del adapter
    for parameter in gpu.model.parameters():
        parameter.grad = None
    assert torch.cuda.memory_allocated() <= before


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one CUDA device")
def test_another_gpu_than_the_current_one():
    side = Side("cuda:1")
    with torch.cuda.device(0):
        adapter = side.train(side.selected(selection="snip"))
        assert {deltas.device.index for deltas in adapter.deltas.values()} == {1}
        adapter.unmerge()
    adapter.close()
    side.model[4].cuda(0)
    side.model[0].cuda(0)
    with pytest.raises(speft.InvalidArgument, match="'0.weight' is on cuda:0, '2.weight' on cuda:1"):
        side.adapter()


# ---- selecting ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("scope", ["global", "per-tensor", "per-row"])
@pytest.mark.parametrize("selection", ["random", "magnitude"])
def test_masks_are_those_of_the_cpu(selection, scope, dtype):
    masks = [Side(device, dtype).selected(selection=selection, scope=scope).masks for device in ("cpu", GPU)]
    for name, mask in masks[0].items():
        assert torch.equal(masks[1][name], mask)


@pytest.mark.parametrize("selection", ["gradient", "snip", "fisher", "wanda", "synflow", "grasp", "low-rank"])
def test_masks_of_products_are_nearly_those_of_the_cpu(gpu, cpu, selection):
    """Sums in another order: scores that are nearly equal may change places."""
    ours, theirs = gpu.selected(selection=selection).masks, cpu.selected(selection=selection).masks
    chosen = {(name, index) for name, mask in ours.items() for index in mask.tolist()}
    expected = {(name, index) for name, mask in theirs.items() for index in mask.tolist()}
    assert len(chosen) == len(expected)
    assert len(chosen & expected) >= 0.95 * len(expected)


def test_scores_of_a_function_and_of_a_dict(gpu):
    scores = {name: torch.rand_like(gpu.model.get_parameter(name)) for name in TARGETS}
    by_function = gpu.adapter(selection=lambda name, weight, gradient: scores[name])
    by_function.select()
    masks = by_function.masks
    by_function.close()
    given = {name: values.cpu() for name, values in scores.items()}  # wherever they are
    by_dict = gpu.adapter(selection=given)
    by_dict.select()
    assert all(torch.equal(by_dict.masks[name], mask) for name, mask in masks.items())


# ---- gradients ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_gradients_are_autograds(gradient, dtype):
    side = Side(GPU, dtype)
    adapter = side.selected(gradient=gradient)
    side.loss(0).backward()
    side.loss(0, side.original).backward()
    for name, mask in adapter.masks.items():
        expected = side.original.get_parameter(name).grad.flatten()[mask.to(GPU)].float()
        values = next(target.values for target in adapter._targets if target.name == name)
        # 32 products each, whose factors a tensor core may round to 11 bits; autograd rounds the sum to the type.
        scale = expected.abs().max().item()
        allowed = {torch.float32: 2**-9, torch.bfloat16: 2**-7, torch.float16: 2**-9}[dtype] * scale
        torch.testing.assert_close(values.grad, expected, rtol=0, atol=allowed)


def test_the_lent_gradient_is_what_a_step_uses(gpu):
    adapter = gpu.selected(optimizer="sgd", lr=1.0)
    gpu.loss(0).backward()
    lent = torch.from_dlpack(adapter.native.gradient("0.weight"))
    assert lent.device == GPU
    lent.fill_(0.25)
    adapter.step()
    assert (adapter.deltas["0.weight"] == -0.25).all()


# ---- steps ----


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "lion", "sm3", "adafactor"])
def test_steps_are_those_of_the_cpu(gpu, cpu, optimizer):
    """From the same gradients, given as dense ones."""
    adapters = [side.selected(optimizer=optimizer, gradient="dense", weight_decay=0.1) for side in (gpu, cpu)]
    generator = torch.Generator().manual_seed(2)
    for _ in range(STEPS):
        for name, weight in cpu.model.named_parameters():
            if not name.startswith("speft") and weight.requires_grad and "speft_" not in name:
                gradient = torch.randn(weight.shape, generator=generator)
                if name in TARGETS:
                    adapters[0].native.accumulate(name, dense=gradient.to(GPU))
                    adapters[1].native.accumulate(name, dense=gradient)
                    continue
                gpu.model.get_parameter(name).grad = gradient.to(GPU)
                weight.grad = gradient
        for adapter in adapters:
            for target in adapter._targets:
                target.received = True
                target.values.grad = target.gradient
            adapter.step()
            adapter.zero_grad()
    assert_close(adapters[0].deltas, adapters[1].deltas, **ROUNDING)
    assert_close(gpu.model.state_dict(), cpu.model.state_dict(), **ROUNDING)


@pytest.mark.parametrize("selection", ["random", "magnitude"])
@pytest.mark.parametrize("gradient", ["activations", "dense"])
def test_training_is_that_of_the_cpu(gpu, cpu, selection, gradient):
    ours, theirs = (side.train(side.selected(selection=selection, gradient=gradient)) for side in (gpu, cpu))
    assert_close(ours.deltas, theirs.deltas, **TRAINED)


@pytest.mark.parametrize(
    "options",
    [
        {"selection": "spiel-ag", "reselect_every": 2, "window": 2},
        {"selection": "spiel-ma", "reselect_every": 2},
        {"selection": "snip", "reselect_every": 2},
        {"selection": "meprop"},
        {"selection": "sparsegrad"},
        {"selection": "random", "state": "blocks8"},
        {"selection": "random", "state": "bfloat16", "delta_type": "bfloat16"},
    ],
    ids=str,
)
def test_lives_of_all_kinds_end_with_the_original_bits(gpu, options):
    adapter = gpu.train(gpu.selected(**options))
    before = torch.stack([gpu.loss(index).detach() for index in range(STEPS)])
    adapter.merge()
    adapter.attach()
    assert torch.equal(before, torch.stack([gpu.loss(index).detach() for index in range(STEPS)]))
    adapter.unmerge()
    head = ("4.weight", "4.bias")
    for name, weight in gpu.original.named_parameters():
        assert name in head or torch.equal(gpu.model.get_parameter(name), weight), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_merge_and_unmerge_to_the_bit(dtype):
    side = Side(GPU, dtype)
    adapter = side.train(side.selected(dense=()))
    trained = copy.deepcopy(side.model.state_dict())
    for name, mask in adapter.masks.items():
        original = side.original.get_parameter(name).flatten()[mask.to(GPU)]
        expected = (original.float() + adapter.deltas[name]).to(dtype)
        assert torch.equal(trained[name].flatten()[mask.to(GPU)], expected)
    adapter.unmerge()
    side.assert_original()
    adapter.merge()
    assert all(torch.equal(side.model.state_dict()[name], weight) for name, weight in trained.items())


# ---- with PyTorch's own tools ----


def test_clipping_is_that_of_the_cpu(gpu, cpu):
    norms = []
    adapters = [side.selected() for side in (gpu, cpu)]
    for side, adapter in zip((gpu, cpu), adapters, strict=True):
        for index in range(STEPS):
            side.loss(index).backward()
            norms.append(nn.utils.clip_grad_norm_(adapter.parameters(), 0.01).item())
            adapter.step()
            adapter.zero_grad()
    assert norms[:STEPS] == pytest.approx(norms[STEPS:], rel=1e-3)
    assert_close(adapters[0].deltas, adapters[1].deltas, **TRAINED)


def test_grad_scaler_unscales_and_skips(gpu):
    scaled, plain = Side(GPU), gpu
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10, growth_interval=1000)
    adapter, reference = scaled.selected(), plain.train(plain.selected())
    for index in range(STEPS):
        scaler.scale(scaled.loss(index)).backward()
        scaler.unscale_(adapter)
        scaler.step(adapter)
        scaler.update()
        adapter.zero_grad()
    assert_close(adapter.deltas, reference.deltas, **TRAINED)
    before = adapter.deltas
    scaler.scale(scaled.loss(0) * float("inf")).backward()
    scaler.step(adapter)
    scaler.update()
    assert all(torch.equal(adapter.deltas[name], deltas) for name, deltas in before.items())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(gpu, dtype):
    adapter = gpu.selected(selection="snip")
    with torch.autocast("cuda", dtype):
        loss = gpu.loss(0)
    loss.backward()
    adapter.step()
    assert all(deltas.abs().max() > 0 for deltas in adapter.deltas.values())


# ---- streams ----


def test_work_follows_pytorch_from_stream_to_stream(gpu):
    """With a delay before each step's gradients: whoever did not wait would use those of before."""
    reference = gpu.train(gpu.selected())
    other = Side(GPU)
    adapter = other.selected()
    streams = [torch.cuda.Stream(), torch.cuda.current_stream(), torch.cuda.Stream()]
    for index in range(STEPS):
        stream, previous = streams[index % 3], torch.cuda.current_stream()
        stream.wait_stream(previous)
        with torch.cuda.stream(stream):
            torch.cuda._sleep(20_000_000)
            other.loss(index).backward()
            adapter.step()
            adapter.zero_grad()
        previous.wait_stream(stream)
    deltas = adapter.deltas
    torch.cuda.synchronize()
    assert all(torch.equal(deltas[name], values) for name, values in reference.deltas.items())
    adapter.unmerge()
    torch.cuda.synchronize()
    for name in TARGETS:
        assert torch.equal(other.model.get_parameter(name), other.original.get_parameter(name))


def test_consumers_on_another_stream_wait(gpu):
    """At the level of arrays: a context on a stream of its own, a consumer on PyTorch's."""
    stream = torch.cuda.Stream()
    weights = torch.ones(1 << 20, device=GPU)
    adapter = speft.Adapter(
        speft.Context("cuda", stream=stream.cuda_stream),
        [speft.Parameter.of("w", weights)],
        selection="random",
        density=0.5,
        optimizer="sgd",
    )
    adapter.bind_weights("w", weights)
    adapter.select()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
    adapter.accumulate("w", dense=torch.full_like(weights, 2))
    found = torch.from_dlpack(adapter.gradient("w")).clone()  # on the current stream
    assert (found == 2).all()
    adapter.context.synchronize()


# ---- files ----


@pytest.mark.parametrize(("start", "end"), [(GPU, "cpu"), ("cpu", GPU)], ids=["to the CPU", "to the GPU"])
def test_files_go_from_device_to_device(tmp_path, start, end):
    here, there = Side(start), Side(end)
    adapter = here.train(here.selected(selection="magnitude"))
    adapter.save(tmp_path / "a.safetensors")
    loaded = SparseAdapter.load(tmp_path / "a.safetensors", there.model)
    assert loaded.native.context.backend == there.device.type
    for name, deltas in adapter.deltas.items():
        assert torch.equal(loaded.masks[name], adapter.masks[name])
        assert torch.equal(loaded.deltas[name].cpu(), deltas.cpu())
    assert_close(there.model.state_dict(), here.model.state_dict(), rtol=0, atol=0)
    loaded.unmerge()


def test_an_adapter_of_a_part_on_the_gpu_loads_where_that_part_is(tmp_path, gpu):
    gpu.train(gpu.selected(targets=["2.weight"])).save(tmp_path / "a.safetensors")
    parts = Side(GPU)
    parts.model[0].cpu()
    loaded = SparseAdapter.load(tmp_path / "a.safetensors", parts.model)
    assert loaded.native.context.backend == "cuda"


def test_a_state_dict_resumes_to_the_bit(gpu):
    reference = gpu.train(gpu.selected())
    first, second = Side(GPU), Side(GPU)
    adapter = first.train(first.selected(), steps=3)
    second.model.load_state_dict(first.model.state_dict())
    resumed = second.adapter()
    resumed.load_state_dict(adapter.state_dict())
    second.train(resumed, steps=STEPS - 3, first=3)
    assert all(torch.equal(resumed.deltas[name], deltas) for name, deltas in reference.deltas.items())


# ---- quantized layers ----


@pytest.mark.parametrize("kind", ["nf4", "fp4", "int8"])
def test_quantized_layers_are_those_of_the_cpu(gpu, cpu, kind):
    for side in (gpu, cpu):
        quantize_layers(side.model, TARGETS, kind)
    ours, theirs = gpu.model.state_dict(), cpu.model.state_dict()
    for name, values in theirs.items():
        assert ours[name].device == GPU or name.startswith("4.")
        assert torch.equal(ours[name].cpu(), values), name
    assert torch.allclose(gpu.loss(0).cpu(), cpu.loss(0), rtol=1e-2)
    again = Side(GPU)
    quantize_layers(again.model, TARGETS, kind)
    again.model.load_state_dict(theirs)
    assert torch.equal(again.loss(0), gpu.loss(0))
    moved = cpu.model.to(GPU)
    assert isinstance(moved[0], QuantizedLinear)
    assert torch.equal(moved(gpu.inputs[0]), gpu.model(gpu.inputs[0]))


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_training_beside_quantized_weights(gpu, cpu, kind):
    adapters = []
    for side in (gpu, cpu):
        quantize_layers(side.model, TARGETS, kind)
        adapters.append(side.train(side.selected(selection="magnitude")))
    codes = [gpu.model[index].weight.clone() for index in (0, 2)]
    ours, theirs = adapters
    for name, mask in theirs.masks.items():
        assert torch.equal(ours.masks[name], mask)
    # Products may round their inputs to bfloat16 or TF32 on a GPU.
    assert_close(ours.deltas, theirs.deltas, rtol=0, atol=2e-2)
    ours.merge()
    ours.unmerge()
    assert all(torch.equal(gpu.model[index].weight, codes[place]) for place, index in enumerate((0, 2)))


def test_bitsandbytes_layers(gpu):
    bitsandbytes = pytest.importorskip("bitsandbytes")
    for index in (0, 2):
        layer = gpu.model[index]
        theirs = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, compute_dtype=torch.float32, quant_type="nf4"
        )
        theirs.load_state_dict(layer.state_dict())
        gpu.model[index] = theirs.to(GPU)
    before = gpu.loss(0).item()
    adapter = gpu.selected(selection="snip")
    assert gpu.loss(0).item() == pytest.approx(before, rel=1e-2)
    gpu.train(adapter)
    assert all(deltas.abs().max() > 0 for deltas in adapter.deltas.values())

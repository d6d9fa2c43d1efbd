"""Other people's training loops: Hugging Face's Trainer, and DistributedDataParallel."""

import copy

import pytest
import torch
from torch import nn

from speft.torch import SparseAdapter

MODES = ["activations", "dense"]


@pytest.fixture
def bert():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=3,
    )
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(config)


class Sentences(torch.utils.data.Dataset):
    def __init__(self):
        generator = torch.Generator().manual_seed(5)
        self.tokens = torch.randint(0, 50, (8, 6), generator=generator)
        self.labels = torch.randint(0, 3, (8,), generator=generator)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {
            "input_ids": self.tokens[index],
            "attention_mask": torch.ones(6, dtype=torch.int64),
            "labels": self.labels[index],
        }


def whole_batch():
    sentences = Sentences()
    return {
        "input_ids": sentences.tokens,
        "attention_mask": torch.ones(8, 6, dtype=torch.int64),
        "labels": sentences.labels,
    }


def make_adapter(model, gradient):
    adapter = SparseAdapter(
        model,
        ["*.query.weight", "*.value.weight", "*.dense.weight"],
        density=0.1,
        dense=["classifier.*"],
        lr=1e-2,
        gradient=gradient,
    )
    model(**whole_batch()).loss.backward()
    adapter.observe()
    adapter.select()
    return adapter


@pytest.mark.parametrize("gradient", MODES)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_trainer(bert, gradient, checkpointing, tmp_path):
    """Trainer's own clipping, scheduler and accumulation, against a masked AdamW in plain PyTorch."""
    transformers = pytest.importorskip("transformers")
    reference = copy.deepcopy(bert)
    if checkpointing:
        bert.gradient_checkpointing_enable()
    adapter = make_adapter(bert, gradient)
    scheduler = torch.optim.lr_scheduler.LambdaLR(adapter, lambda step: 1 / (1 + step))
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=4,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        max_grad_norm=0.1,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = transformers.Trainer(
        bert, arguments, train_dataset=Sentences(), optimizers=(adapter, scheduler)
    )
    trainer.model_accepts_loss_kwargs = (
        False  # else it leaves the mean over micro-batches to the model's loss
    )
    trainer.train()
    norms = [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry]
    assert adapter.info.steps == 4

    # One whole batch a step, whatever its order: two micro-batches of 4 sum to the mean over 8.
    masks = adapter.masks
    originals = {name: reference.get_parameter(name).detach().clone() for name in masks}
    deltas = {name: torch.zeros(mask.numel(), requires_grad=True) for name, mask in masks.items()}
    head = list(reference.classifier.parameters())
    optimizer = torch.optim.AdamW([*deltas.values(), *head], lr=1e-2, weight_decay=0.0)
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
        reference.zero_grad()
        reference(**whole_batch()).loss.backward()
        for name, mask in masks.items():
            deltas[name].grad = reference.get_parameter(name).grad.flatten()[mask].clone()
        norm = nn.utils.clip_grad_norm_([*deltas.values(), *head], 0.1)
        # Its clipping sees exactly what is trained. Losses here are means over differently ordered
        # micro-batches.
        assert norms[step] == pytest.approx(norm.item(), rel=1e-4)
        optimizer.step()
        with torch.no_grad():
            for name, mask in masks.items():
                reference.get_parameter(name).flatten()[mask] = originals[name].flatten()[mask] + deltas[name]
    for name, expected in reference.state_dict().items():
        # lr is 1e-2; see TOLERANCE in test_training.py for why errors scale with it.
        torch.testing.assert_close(bert.state_dict()[name], expected, rtol=0, atol=1e-2 * 1e-2, msg=name)


@pytest.mark.parametrize("gradient", MODES)
def test_distributed_data_parallel_leaves_targets_alone(bert, gradient, tmp_path):
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available():
        pytest.skip("PyTorch was built without distributed")
    adapter = make_adapter(bert, gradient)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        parallel = nn.parallel.DistributedDataParallel(bert)
        for _ in range(3):  # without being ignored, parameters that got no gradient fail the second iteration
            parallel(**whole_batch()).loss.backward()
            assert all(parameter.grad is not None for parameter in adapter.parameters())
            adapter.step()
            adapter.zero_grad()
        with pytest.raises(ValueError, match="DistributedDataParallel"):
            SparseAdapter(parallel, ["*.key.weight"])
    finally:
        distributed.destroy_process_group()
    assert adapter.info.steps == 3
    adapter.close()
    assert not hasattr(bert, "_ddp_params_and_buffers_to_ignore")

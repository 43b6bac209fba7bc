"""Adapters start at the teacher, train alone, and leave nothing behind."""

import pytest
import torch
from distilling import small_batch, small_teacher

from dimrt.errors import InputError
from dimrt.export.train.distill.lowrank import adapt, merge
from dimrt.export.train.distill.network import predict


def test_adapters_start_at_the_teacher_and_merge_exactly() -> None:
    teacher = small_teacher()
    scene, batch = teacher.scene(small_batch()), small_batch()
    sigma = torch.full((3,), 0.5)
    student = teacher.student()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    names = adapt(student, rank=4)
    assert any(name.endswith("attn2.to_q") for name in names)
    assert any(name.endswith("ff.conv_point") for name in names)  # a 1x1 convolution
    assert not any("conv_depth" in name for name in names)
    taught = predict(teacher.painter, batch.target, sigma, scene)[0]
    assert torch.equal(predict(student, batch.target, sigma, scene)[0], taught)
    trained = [name for name, p in student.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(names)
    with torch.no_grad():
        for parameter in student.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn_like(parameter)
    adapted = predict(student, batch.target, sigma, scene)[0]
    assert not torch.allclose(adapted, taught, atol=1e-3)
    merge(student)
    assert torch.equal(predict(student, batch.target, sigma, scene)[0], adapted)
    after = student.state_dict()
    assert set(after) == set(before)
    assert {n for n in before if not torch.equal(before[n], after[n])} == {f"{n}.weight" for n in names}


def test_a_rank_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(InputError, match=r"lora.rank 4096"):
        adapt(small_teacher().student(), rank=4096)

"""Policies to be aligned: members of the tiny family that lost much of what they knew, so that there is headroom.

Members that never learned a skill gain nothing from a few hundred pairs, whatever the pairs are. These know more than
they show: either noise was added to their matrices, or they were trained on after on one skill and forgot the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from karma_demo.family import MEMBERS, Member, checkpoint_path
from karma_demo.model_card import load
from karma_demo.tasks import Skill
from karma_demo.training import train


def _worn(member: str, noise: float, seed: int) -> Callable[[Path], None]:
    """Add normal noise to every matrix: `noise` times the standard deviation of its entries."""

    def make(folder: Path) -> None:
        import torch

        tokenizer, model = load(checkpoint_path(member))
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weight in model.parameters():
                if weight.ndim == 2:
                    weight.add_(torch.randn(weight.shape, generator=generator) * weight.std() * noise)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return make


def _forgetful(member: str, skill: Skill, steps: int, seed: int) -> Callable[[Path], None]:
    """Continue a member on one skill alone."""
    width = next(one.width for one in MEMBERS if one.name == member)

    def make(folder: Path) -> None:
        parent = folder.parent / member
        if not parent.exists():
            parent.symlink_to(checkpoint_path(member))
        train(Member(folder.name, width, steps, seed, {skill: 1.0}, parent=member), folder.parent)

    return make


#: The first four are those on which the settings were chosen; the fifth was made after these were fixed.
POLICIES: Mapping[str, Callable[[Path], None]] = {
    "worn-large": _worn("generalist-large", 0.2, 1),
    "worn-schooled": _worn("speller-schooled", 0.2, 1),
    "forgetful-large": _forgetful("generalist-large", "addition", 60, 5),
    "worn-twin": _worn("generalist-large-twin", 0.2, 1),
    "forgetful-twin": _forgetful("generalist-large-twin", "dashes", 60, 9),
}
FIFTH = "forgetful-twin"


def made(name: str, folder: Path) -> Path:
    """Make the checkpoint of a policy inside `folder`."""
    checkpoint = folder / name
    POLICIES[name](checkpoint)
    return checkpoint

"""The step of the residual recipes: one network, one update, no adversaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.hints import gradient_hints
from amtgan_lib.images import in_levels
from amtgan_lib.training.config import ALIGNED
from amtgan_lib.training.state import State

# Of the recipe any_target: every second target is a point between so many people, every second step is without makeup,
# and a step trains the first, the second or the third look of the generator at a face.
PEOPLE_BETWEEN, MOST_PASSES = 2, 3
# More alike than two photos of two people are: then the target drawn is the face's own person.
ONESELF = 0.5
# A change is half as plain on lips and lids, where makeup is expected: the makeup carries the change where it can.
MADE_UP = 0.5


class ResidualStep:
    """One step of the recipes ``residual`` (one target) and ``any_target`` (hints) on the generator of a trainer."""

    def __init__(self, trainer: State):
        self.trainer = trainer

    def __call__(self, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """Attack the recognisers, stay close to the transferred makeup."""
        trainer, weights = self.trainer, self.trainer.weights
        points, targets, any_target = trainer.points(source), trainer.target, trainer.recipe.any_target
        if any_target and trainer.step % 2:
            reference = source  # a face in its own makeup: only the attack is trained
        with torch.no_grad(), trainer.precision.autocast():
            own, start = trainer.embeddings(source), self._start(source, reference)
        if any_target:
            targets = self._draw_targets(own, noise)
            image = self._guided(source, reference, targets, own, noise)
        else:
            with trainer.precision.autocast():
                image = trainer.generate(source, reference)
        diversity = replace(ALIGNED, part=trainer.share)
        with trainer.precision.autocast():
            attack, dodge = losses.attack_losses(
                image, targets, own, trainer.recognizers, trainer.config.views, diversity, points, noise
            )
        similarity = (image - start).abs().mean() + 1 - losses.ssim(image, start).mean()
        terms = {
            "adversarial": attack,
            "dodging": dodge,
            "similarity": similarity,
            "makeup": self._makeup(image, start, source, reference),
        }
        if weights.visible:
            terms["visible"] = _visible(image, start, source.masks)
        total = sum(getattr(weights, name) * term for name, term in terms.items())
        trainer.update("generator", total)
        return {"total": total, **terms}

    def _guided(
        self,
        source: FaceBatch,
        reference: FaceBatch,
        targets: Sequence[Tensor],
        own: Sequence[Tensor],
        noise: torch.Generator,
    ) -> Tensor:
        """The picture after one pass or more, as at use time; only the last pass has a gradient."""
        trainer, now, left = self.trainer, source, None
        asked = self._draw_ensemble(noise)
        for number in reversed(range(int(torch.randint(MOST_PASSES, (), generator=noise)) + 1)):
            # A block of its own for each pass: autocast would reuse the casts of a pass without gradient.
            with torch.set_grad_enabled(number == 0), trainer.precision.autocast():
                hints = gradient_hints(now.image, trainer.points(source), trainer.recognizers, targets, left, asked)
                image = trainer.generate(now, reference, hints=hints)
            now = reference = replace(source, image=image.detach())  # the makeup is on after the first pass
            left = own
        return image

    def _draw_ensemble(self, noise: torch.Generator) -> list[float]:
        """Weights of the recognisers that give hints: in half of the steps all, else some, as there may be at use."""
        some = torch.rand(len(self.trainer.recognizers), generator=noise) < 0.5
        everybody = bool(torch.rand((), generator=noise) < 0.5) or not bool(some.any())
        return [1.0] * len(some) if everybody else some.float().tolist()

    def _draw_targets(self, own: Sequence[Tensor], noise: torch.Generator) -> list[Tensor]:
        """Per recogniser (N, D): a person of the pool, but not the own, or the point between a few, who is nobody."""
        pool, share = self.trainer.targets, self.trainer.share
        count = len(own[0]) * share.size
        people = share.of(torch.randint(len(pool[0]), (count, PEOPLE_BETWEEN), generator=noise))
        people = people.to(own[0].device, non_blocking=True)
        oneself = (pool[0][people] * own[0][:, None]).sum(-1) > ONESELF
        people = torch.where(oneself, (people + 1) % len(pool[0]), people)
        weights = torch.ones(len(people), PEOPLE_BETWEEN)
        weights[share.of(torch.rand(count, generator=noise)) < 0.5, 1:] = 0
        weights = weights[..., None].to(people.device, non_blocking=True)
        return [F.normalize((vectors[people] * weights).sum(1)) for vectors in pool]

    def _start(self, source: FaceBatch, reference: FaceBatch) -> Tensor:
        sides = (source.masks, reference.masks, source.landmarks, reference.landmarks, self.trainer.budgets)
        return self.trainer.networks["generator"].start(source.image, reference.image, *sides)

    def _makeup(self, image: Tensor, start: Tensor, source: FaceBatch, reference: FaceBatch) -> Tensor:
        """Colours of the reference (histograms), or, where makeup alone is transferred, that makeup as transferred."""
        if self.trainer.config.transfer == "colours":
            return self.trainer.makeup(image, source, reference)
        weights = torch.tensor(self.trainer.recipe.weights.regions).to(image.device, non_blocking=True)[:, None, None]
        distance = in_levels((image - start).abs().mean(1, keepdim=True))
        return (distance * source.masks * weights).mean(dim=(0, 2, 3)).sum()


def _visible(image: Tensor, start: Tensor, masks: Tensor) -> Tensor:
    """Mean square of the colour difference, a scalar: patches count more than the same change spread out.

    Not its root, whose slope at no change at all is as steep as anywhere: a generator stayed there. It is taken at
    half the size, which the eye's own blur leaves little of, and costs a quarter.
    """
    made_up = F.avg_pool2d((masks[:, :1] + masks[:, 2:]).clamp(max=1), 2)
    difference = losses.colour_difference(F.avg_pool2d(image, 2), F.avg_pool2d(start, 2))
    return (difference * (1 - (1 - MADE_UP) * made_up)).square().mean()

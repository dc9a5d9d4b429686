"""The published algorithm as it runs, in our own words: what the fast paths are measured against and must equal.

Its weights and formulas are those of ``amtgan_lib``; only the way of computing differs. AMT-GAN, `backbone/`: the
attention multiplies every position with every other and collects what is not zero into sparse matrices; histogram
matching loops over levels and pixels on the CPU; a step draws its fakes again, and embeds the constant target for
every view. Where the released code takes one pair at a time, a batch is a loop here.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.losses import InputDiversity
from amtgan_lib.models import Generator
from amtgan_lib.models.morphing import FEATURE_SCALE, SHARPNESS, STRIDE
from amtgan_lib.models.normalization import InstanceNorm
from amtgan_lib.recipes import Recipe
from amtgan_lib.recognizers import Recognizer
from amtgan_lib.training import Trainer

LEVELS = 256

# --- attention ----------------------------------------------------------------------------------------------------


def positions(landmarks: Tensor, masks: Tensor) -> Tensor:
    """Relative positions (N,R,136,h,w) on the whole grid of pixels: masked, sampled, normalised; its preprocessing.

    landmarks (N,68,2) pixel (y, x); masks (N,R,4h,4w).
    """
    height, width = masks.shape[2:]
    y, x = landmarks[:, :, 0, None, None], landmarks[:, :, 1, None, None]
    rows = (torch.arange(height, device=y.device).view(1, 1, -1, 1) - y).expand(-1, -1, -1, width)
    columns = (torch.arange(width, device=y.device).view(1, 1, 1, -1) - x).expand(-1, -1, height, -1)
    offsets = (torch.cat((rows, columns), dim=1).unsqueeze(1) * masks.unsqueeze(2))[..., ::STRIDE, ::STRIDE]
    norm = offsets.norm(dim=2, keepdim=True)
    return offsets / torch.where(norm == 0, 1e10, norm)


def morph(
    source_features: Tensor,
    reference_features: Tensor,
    makeup: Tensor,
    source_masks: Tensor,
    reference_masks: Tensor,
    source_positions: Tensor,
    reference_positions: Tensor,
) -> Tensor:
    """``amtgan_lib.models.morphing.morph``, which takes landmarks instead of their ``positions``."""
    results = []
    for index in range(len(makeup)):
        result = torch.zeros_like(makeup[index])
        for region in range(source_masks.shape[1]):
            sides = []
            for features, masks, places in (
                (source_features, source_masks, source_positions),
                (reference_features, reference_masks, reference_positions),
            ):
                visual = FEATURE_SCALE * features[index] * masks[index, region, ::STRIDE, ::STRIDE]
                sides.append(torch.cat((visual, places[index, region])).flatten(1))
            result = result + _collected(sides[0].T @ sides[1], makeup[index])
        results.append(result)
    return torch.stack(results)


def _collected(products: Tensor, makeup: Tensor) -> Tensor:
    """Values (V,h,w) gathered by a sparse matrix of the attention whose product is not zero; channel by channel."""
    weights = (SHARPNESS * products).softmax(dim=1)
    kept = products.detach().cpu().nonzero().T.to(products.device)
    sparse = torch.sparse_coo_tensor(kept, weights[kept[0], kept[1]], weights.shape)
    return torch.stack([torch.sparse.mm(sparse, channel.reshape(-1, 1)).view_as(channel) for channel in makeup])


class PublishedGenerator(Generator):
    """The generator with the published attention and PyTorch's normalisation.

    ``prepared`` are the positions of the pair at hand, where known: the released code computes them beforehand.
    """

    prepared: tuple[Tensor, Tensor] | None = None

    def __init__(self, **built):
        super().__init__(**built)
        for module in list(self.modules()):
            for name, child in module.named_children():
                if isinstance(child, InstanceNorm):
                    setattr(module, name, nn.InstanceNorm2d(child.num_channels, affine=child.affine))

    def _morph(self, features: Tensor, reference: Tensor, *sides: Tensor) -> tuple[Tensor, Tensor]:
        masks, landmarks = sides[:2], sides[2:4]
        known = self.prepared or tuple(positions(*each) for each in zip(landmarks, masks, strict=True))
        reference_features, makeup = self.mdnet(reference)
        return morph(features, reference_features, makeup, *masks, *known).chunk(2, dim=1)


def generator_of(network: Generator) -> PublishedGenerator:
    """The same weights with the published attention, in PyTorch's usual memory format."""
    plain = PublishedGenerator(**network.built)
    plain.load_state_dict(network.state_dict())
    return plain.to(next(network.parameters()).device, memory_format=torch.contiguous_format).train(network.training)


# --- histogram matching -------------------------------------------------------------------------------------------


def matched(levels: Tensor, reference: Tensor) -> list[float]:
    """Levels (P,) of one channel mapped onto those of the reference (Q,): a table by two loops, a loop over pixels."""
    own, other = (_cumulative(values) for values in (levels, reference))
    table = list(range(LEVELS))
    for i in range(1, LEVELS - 1):
        for j in range(1, LEVELS):
            if other[j - 1] <= own[i] <= other[j]:
                table[i] = j
                break
    return [float(table[int(level)]) for level in levels.numpy()]


def _cumulative(levels: Tensor) -> list:
    counts = torch.histc(levels, bins=LEVELS, min=0, max=LEVELS).numpy()
    total = counts.sum()
    sums = [counts[0] / total]
    for count in counts[1:]:
        sums.append(sums[-1] + count / total)
    return sums


def histogram_loss(image: Tensor, reference: Tensor, image_mask: Tensor, reference_mask: Tensor) -> Tensor:
    """``amtgan_lib.losses.histogram_loss`` of regions that are nowhere empty."""
    total = image.new_zeros(())
    for picture, other, own_mask, other_mask in zip(image, reference, image_mask, reference_mask, strict=True):
        levels = ((picture + 1) / 2).clamp(0, 1) * 255 * own_mask
        target = levels.detach().cpu().clone()
        other_levels = (((other + 1) / 2).clamp(0, 1) * 255).detach().cpu()
        inside, other_inside = own_mask[0].cpu() > 0, other_mask[0].cpu() > 0
        for channel in range(3):
            wanted = matched(target[channel][inside], other_levels[channel][other_inside])
            for (y, x), level in zip(inside.nonzero().tolist(), wanted, strict=True):
                target[channel, y, x] = level
        total = total + F.l1_loss(levels, target.to(levels.device))
    return total / len(image)


# --- one training step --------------------------------------------------------------------------------------------


class PlainLoop:
    """The released loop (`backbone/solver.py`) on copies of a trainer's networks: everything is computed again.

    judges, perceptual, target: the trainer's recognisers, perceptual distance and target face, untouched by it.
    """

    def __init__(
        self, trainer: Trainer, recipe: Recipe, judges: Sequence[Recognizer], perceptual: nn.Module, target: FaceBatch
    ):
        self.recipe, self.weights, self.views = recipe, recipe.weights, trainer.config.views
        self.networks = {name: copy.deepcopy(network) for name, network in trainer.networks.items()}
        self.networks["generator"] = generator_of(trainer.networks["generator"])
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), 2e-4, betas=(0.5, 0.999))
            for name, network in self.networks.items()
        }
        self.g, self.h, self.d_makeup, self.d_plain = (
            self.networks[name] for name in ("generator", "regularizer", "discriminator_makeup", "discriminator_plain")
        )
        self.judges, self.lpips, self.z = judges, perceptual, target

    def step(self, x: FaceBatch, y: FaceBatch, noise: torch.Generator) -> dict[str, list[Tensor]]:
        """One step; returns the gradient that every network was updated with."""
        found = {}
        for name, judge, real, fake in (
            ("discriminator_makeup", self.d_makeup, y.image, self.draw(x, y)),
            ("discriminator_plain", self.d_plain, x.image, self.draw(y, x)),
        ):
            scores = judge(real), judge(fake.detach())
            loss = 0.5 * (F.mse_loss(scores[0], torch.ones_like(scores[0])) + (scores[1] ** 2).mean())
            self.update(name, loss, found)
        self.update("generator", self.generator_loss(x, y, noise), found)
        self.update("regularizer", self.regularizer_loss(x, y), found)
        return found

    def draw(self, a: FaceBatch, b: FaceBatch, image: Tensor | None = None) -> Tensor:
        """G(a, b); ``image`` replaces a's pixels."""
        return self.g(a.image if image is None else image, b.image, a.masks, b.masks, a.landmarks, b.landmarks)

    def update(self, name: str, loss: Tensor, found: dict[str, list[Tensor]]) -> None:
        """``backward`` fills the gradients of all networks; one of them is updated."""
        self.optimizers[name].zero_grad()
        loss.backward()
        parameters = self.networks[name].parameters()
        found[name] = [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in parameters]
        self.optimizers[name].step()
        for network in self.networks.values():
            network.zero_grad()

    def shared_loss(
        self, fake: Tensor, back: Tensor, pure: tuple[Tensor, Tensor], x: FaceBatch, y: FaceBatch
    ) -> Tensor:
        """GAN and makeup terms of a pair of pictures, and the cycle of their purified forms."""
        judged = ((self.d_makeup(fake) - 1) ** 2).mean() + ((self.d_plain(back) - 1) ** 2).mean()
        again = self.h(self.draw(x, x, pure[0])), self.h(self.draw(y, y, pure[1]))
        cycle = (again[0] - x.image).abs().mean() + (again[1] - y.image).abs().mean()
        match = losses.histogram_loss_as_shipped if self.recipe.makeup_loss_as_shipped else histogram_loss
        makeup = 0.0
        for region, share in enumerate((1.0, 0.1, 1.0)):
            own, other = x.masks[:, region, None], y.masks[:, region, None]
            makeup = makeup + share * (match(fake, y.image, own, other) + match(back, x.image, other, own))
        w = self.weights
        return 0.5 * (w.gan * judged + w.cycle * cycle + w.makeup * makeup)

    def identity(self, same: list[Tensor], crossed: list[Tensor], x: FaceBatch, y: FaceBatch) -> Tensor:
        """Faces in their own makeup stay as they are; as released, those in the other's do, too."""
        total = 0.0
        for own, other, face in zip(same, crossed, (x, y), strict=True):
            total = total + (own - face.image).abs().mean() + self.lpips(own, face.image)
            if self.recipe.perceptual_to_source:
                total = total + self.lpips(other, face.image)
        return 0.5 * self.weights.identity * total

    def generator_loss(self, x: FaceBatch, y: FaceBatch, noise: torch.Generator) -> Tensor:
        """All terms of G, its fakes drawn again."""
        fake, back = self.draw(x, y), self.draw(y, x)
        loss = self.shared_loss(fake, back, (self.h(fake), self.h(back)), x, y)
        loss = loss + self.identity([self.draw(x, x), self.draw(y, y)], [fake, back], x, y)
        cosines = []
        for picture, face in ((fake, x), (back, y)):
            for _ in range(self.views):
                view, points = InputDiversity()(picture, self.points(face), noise)
                for judge in self.judges:
                    target = judge.embed(self.z.image, self.points(self.z))
                    cosines.append(F.cosine_similarity(judge.embed(view, points), target).mean())
        return loss + self.weights.adversarial * (1 - torch.stack(cosines)).mean()

    def regularizer_loss(self, x: FaceBatch, y: FaceBatch) -> Tensor:
        """All terms of H on what G draws now."""
        drawn = [self.draw(*sides).detach() for sides in ((x, y), (y, x), (x, x), (y, y))]
        pure_x, pure_y, *same = (self.h(picture) for picture in drawn)
        loss = self.shared_loss(pure_x, pure_y, (pure_x, pure_y), x, y) + self.identity(same, [pure_x, pure_y], x, y)
        for picture, face in ((pure_x, x), (pure_y, y)):
            for judge in self.judges:
                cosine = F.cosine_similarity(
                    judge.embed(picture, self.points(face)), judge.embed(face.image, self.points(face))
                )
                loss = loss + self.weights.adversarial * (1 - cosine.mean()) / (2 * len(self.judges))
        return loss

    def points(self, face: FaceBatch) -> Tensor | None:
        """What recognisers align a face by; None where they see the whole picture."""
        return None if self.recipe.unaligned_recognizers else face.points

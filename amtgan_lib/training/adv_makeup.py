"""The step of the recipe ``adv_makeup``: Adv-Makeup (Yin et al., IJCAI 2021, arXiv 2105.03162) in a reduced form.

As in the paper: a generator paints eye shadow for one target, a discriminator compares it with made-up eyes, gradient,
style and smoothness blend it with the face, and meta-learning over the recognisers looks for what also works on one
that the step did not see. As in its released code: weights of 1, and first-order gradients of the meta-test.

Reduced, since the full form wants VGG16's weights and a GPU:

- the generator adds a bounded change to the eye area, where the paper's draws the area anew, and paints in rectangles
  with soft edges, our masks of eyes, where the paper has an outline of landmarks around each eye;
- the style is that of the first stage of the first recogniser, where the paper's is that of VGG16; its term is a share
  of the clean style, since the released factor fits VGG16 only; as in the released code there is no content term;
- a step draws one recogniser to train and one to test on, where the released code takes two and one, always the same;
- the networks are small, and the steps are hundreds.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from amtgan_lib import losses
from amtgan_lib.datasets import FaceBatch
from amtgan_lib.models import eye_area
from amtgan_lib.training import distributed
from amtgan_lib.training.state import State


class AdvMakeupStep:
    """One step on the generator and the discriminator of a trainer."""

    def __init__(self, trainer: State):
        self.trainer = trainer

    def __call__(self, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> dict[str, Tensor]:
        """The discriminator, then the generator."""
        trainer, network = self.trainer, self.trainer.networks["discriminator_makeup"]
        area = eye_area(*source.image.shape[-2:])
        with trainer.precision.autocast():
            drawn = trainer.generate(source, reference)
            eyes, clean, real = (each[..., *area] for each in (drawn, source.image, reference.image))
            judged = losses.lsgan_discriminator_loss(network(real), network(eyes.detach()))
        trainer.update("discriminator_makeup", judged)
        with trainer.precision.autocast():
            terms = {
                "adversarial": self._attack(drawn, source, reference, noise),
                "gan": losses.lsgan_generator_loss(network(eyes)),
                "gradient": losses.gradient_loss(eyes, clean),
                "style": losses.style_loss(*(self._style(image, source) for image in (drawn, source.image))),
                "variation": losses.total_variation(eyes),
            }
        total = sum(getattr(trainer.weights, name) * term for name, term in terms.items())
        trainer.update("generator", total)
        return {"total": total, "discriminator_makeup": judged, **terms}

    def _attack(self, drawn: Tensor, source: FaceBatch, reference: FaceBatch, noise: torch.Generator) -> Tensor:
        """Mean of 1 - cos to the target for a recogniser as it is, and for another after a step against the first.

        Of a single recogniser, which leaves none to test on, the first alone.
        """
        trainer, generator = self.trainer, self.trainer.networks["generator"]
        first, *others = torch.randperm(len(trainer.recognizers), generator=noise).tolist()
        trained = self._missed(first, drawn, source)
        if not others:
            return trained
        names, weights = zip(*generator.named_parameters())
        gradients = distributed.averaged(torch.autograd.grad(trained, weights, retain_graph=True))
        rate = trainer.config.learning_rate  # that of the training, as released
        moved = {name: weight - rate * slope for name, weight, slope in zip(names, weights, gradients)}
        again = functional_call(generator, moved, (source.image, reference.image, source.masks)).float()
        return (trained + self._missed(others[0], again, source)) / 2

    def _missed(self, recognizer: int, image: Tensor, source: FaceBatch) -> Tensor:
        """1 - cos of the faces to the target for one recogniser, a scalar."""
        chosen = ([each[recognizer]] for each in (self.trainer.target, self.trainer.recognizers))
        return losses.adversarial_loss(image, *chosen, views=1, diversity=None, points=self.trainer.points(source))

    def _style(self, image: Tensor, source: FaceBatch) -> Tensor:
        """Maps of the first stage of the first recogniser."""
        return self.trainer.recognizers[0].features(image, self.trainer.points(source))[0]

"""From how many samples remedies learn, and how much labels count: said, taken and kept in the plan."""

import numpy as np
import pytest
from nets import images, mobile

import intact
from intact.data import class_count, for_learning, for_learning_again, for_search, input_specs, partition
from intact.errors import OptionError
from intact.run.settings import Settings


def parts(n=400, calibration=50):
    samples = intact.data.arrays(images(n), np.arange(n) % 4).bind(input_specs(mobile()), class_count(mobile()))
    return partition(samples, None, 0, calibration)


@pytest.mark.parametrize(("most", "count"), [(20, 20), (50, 50), (80, 80), (2000, 150)])
def test_remedies_learn_from_as_many_as_were_asked_for_and_a_plan_finds_the_same(most, count):
    learning, _ = for_learning(parts(), most)
    assert len(learning) == count
    again = for_learning_again(parts(), len(learning), 0)
    assert again.index.tolist() == learning.index.tolist()


def test_a_search_keeps_its_own_samples_however_few_teach():
    learning, choosing, _ = for_search(parts(), 20)
    assert (len(learning), len(choosing)) == (20, 50)
    assert not set(learning.index.tolist()) & set(choosing.index.tolist())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"learning_samples": 0, "max_drop": 1.0}, "--learning-samples 0 must be at least 1, a whole number"),
        ({"label_weight": 1.5, "max_drop": 1.0}, "--label-weight 1.5 must be from 0 .* to 1; the default is 0.1"),
        ({"label_weight": float("nan"), "max_drop": 1.0}, "--label-weight nan must be a finite number"),
        (
            {"learning_samples": 100},
            "--learning-samples is for remedies that are named and for limits; type --remedies or a limit",
        ),
        ({"label_weight": 0.5, "remedies": ("bias",)}, "--label-weight is for finetune; type --remedies finetune or a limit"),
    ],
)
def test_values_that_cannot_be_or_change_nothing_are_refused(given, says):
    with pytest.raises(OptionError, match=says):
        Settings(**given)


def test_they_are_what_learning_takes():
    seen = {}

    def quantized(**options):
        labels = intact.Program(mobile())({"image": images(400)})["scores"].numpy().argmax(1)
        result = intact.quantize(
            mobile(), (images(400), labels), remedies=("finetune",), calibration_samples=20, measure=False, **options
        )
        (seen["said"],) = [step for step in result.steps if step.startswith("fine-tuned")]
        return result

    few = quantized(learning_samples=40)
    assert "on 40 samples and their labels" in seen["said"]
    assert few.plan.remedied.samples == 40
    quantized(learning_samples=40, label_weight=0.0)
    assert "on 40 samples: " in seen["said"]  # without labels
    more = quantized(learning_samples=40, label_weight=0.9)
    assert more.model != few.model
    assert quantized().plan.remedied.samples == 120  # a quarter and a quarter of 400, of which 20 calibrate

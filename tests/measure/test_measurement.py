"""How a figure reads in one line."""

import pytest

from intact.measure.measurement import Measurement


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (("levels used", 164.0, "", None, None), "levels used 164"),
        (("simulator = runtime", 600.0, "of 600 stored numbers", None, None), "simulator = runtime 600 of 600 stored numbers"),
        (("file size", 9728, "bytes", None, None), "file size 9,728 bytes"),
        (("SQNR", float("inf"), "dB", None, None), "SQNR inf dB"),
        (("speed-up", 1.436, "x", 1.43, 1.44), "speed-up 1.44 x [1.43, 1.44]"),
        (("mae increase", 0.01008, "", -0.001148, 0.02624), "mae increase 0.0101 [-0.00115, 0.0262]"),
        (("accuracy drop", 0.0, "percentage points", -1.26, 1.26), "accuracy drop 0.00 percentage points [-1.26, 1.26]"),
    ],
)
def test_a_count_has_no_decimals_and_no_unit_leaves_no_gap(figure, said):
    assert str(Measurement(*figure, "counted", 1)) == said

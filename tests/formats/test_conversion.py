"""What comes back from a converter, which has read a stranger's file, is trusted no more than the file."""

from pathlib import Path

import pytest

from intact.errors import ChildError
from intact.formats.conversion import converted


def convert(tmp_path, body):
    script = tmp_path / "script.py"
    script.write_text(f"from pathlib import Path\ndef main(request, progress):\n    out = Path(request['out'])\n    {body}\n")
    source = tmp_path / "source"
    source.mkdir()
    (source / "link").symlink_to("b" * 300)  # longer than a name can be
    return converted(str(script), {"source": str(source)}, "the test", "torch")


GOLDEN = Path(__file__).parents[1] / "golden" / "float32.tflite"


@pytest.mark.parametrize(
    "body",
    [
        "out.write_bytes(b'no flatbuffer'); return {}",
        "out.write_bytes(b''); return {}",
        "out.mkdir(); return {}",
        f"out.write_bytes(Path({str(GOLDEN)!r}).read_bytes()); return {{'inputs': 5}}",
        f"out.write_bytes(Path({str(GOLDEN)!r}).read_bytes()); return {{'inputs': [[1]], 'outputs': {{}}}}",
    ],
    ids=["another file", "an empty file", "a folder", "a number for names", "lists for names"],
)
def test_an_answer_that_makes_no_sense_is_a_sentence(tmp_path, body):
    with pytest.raises(ChildError, match="the test failed: the converter wrote"):
        convert(tmp_path, body)


def test_a_sound_answer_is_taken(tmp_path):
    assert convert(tmp_path, f"out.write_bytes(Path({str(GOLDEN)!r}).read_bytes()); return {{}}") == GOLDEN.read_bytes()

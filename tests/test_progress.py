"""How far work has come, told to whoever watches."""

from functools import partial

from intact.progress import onward, silent


def test_a_piece_of_a_step_goes_on_where_the_others_ended():
    seen = []
    piece = onward(partial(lambda *told: seen.append(told), "run"), 30, 100)
    piece(1, 20)
    piece(20, 20)
    assert seen == [("run", 31, 100), ("run", 50, 100)]


def test_silence_says_nothing(capsys):
    silent("calibrate", 1, 2)
    assert capsys.readouterr() == ("", "")

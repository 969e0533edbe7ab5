"""agent/envoy/access_log: files that are written, renamed and forgotten while they are read."""

from pathlib import Path

from homeport_agent.envoy.access_log import AccessLog, Place


def append(folder: Path, *lines: str, file: str = "access.log", end: str = "\n") -> None:
    with (folder / file).open("a") as opened:
        opened.write("\n".join(lines) + end)


def rotate(folder: Path, number: int) -> None:
    (folder / "access.log").rename(folder / f"access.log.{number:08}")


def everything(log: AccessLog, place: Place, most_bytes: int = 1 << 20) -> tuple[list[bytes], Place]:
    lines: list[bytes] = []
    while piece := log.read(place, most_bytes):
        lines += piece.lines
        place = piece.place
        assert not piece.missed
    return lines, place


def test_each_line_is_read_once_over_renames(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    assert log.read(Place()) is None
    assert AccessLog(tmp_path / "nowhere").read(Place()) is None
    append(tmp_path, "1", "2")
    lines, place = everything(log, Place())
    assert lines == [b"1", b"2"]
    append(tmp_path, "3")
    rotate(tmp_path, 9)
    append(tmp_path, "4", file="access.log.00000009")  # Envoy has not opened the new one yet
    assert everything(log, place) == ([b"3", b"4"], Place(place.file, 8))
    append(tmp_path, "5")
    rotate(tmp_path, 10)
    append(tmp_path, "6")
    assert everything(log, place)[0] == [b"3", b"4", b"5", b"6"]
    assert everything(log, Place.of(str(place)), most_bytes=4)[0] == [b"3", b"4", b"5", b"6"]


def test_half_a_line_waits_for_its_end_or_for_the_next_file(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    append(tmp_path, "ha", end="")
    assert log.read(Place()) is None
    append(tmp_path, "lf", "and ha", end="")
    lines, place = everything(log, Place())
    assert lines == [b"half"]
    rotate(tmp_path, 1)
    append(tmp_path, "next")
    assert everything(log, place)[0] == [b"and ha", b"next"]


def test_what_is_not_kept_any_more_is_said_to_be_missed(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    append(tmp_path, "1")
    _, place = everything(log, Place())
    append(tmp_path, "2")
    rotate(tmp_path, 1)
    append(tmp_path, "3")
    (tmp_path / "access.log.00000001").unlink()
    piece = log.read(place)
    assert piece is not None
    assert (piece.lines, piece.missed) == ([b"3"], True)
    # A file of the same name and size is another one all the same.
    (tmp_path / "access.log").write_text("4\n")
    again = log.read(piece.place)
    assert again is not None
    assert (again.lines, again.missed) == ([b"4"], True)


def test_the_last_ones_are_found_over_several_files(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    for number in range(3):
        append(tmp_path, *(f"a{number}{digit}" for digit in range(3)), f"b{number}")
        if number < 2:
            rotate(tmp_path, number + 1)

    def wanted(line: bytes) -> bool:
        return line.startswith(b"a")

    lines, place = log.last(4, wanted)
    assert lines == [b"a12", b"a20", b"a21", b"a22"]
    assert log.read(place) is None
    append(tmp_path, "a3")
    assert everything(log, place)[0] == [b"a3"]
    assert len(log.last(-1, wanted)[0]) == 10
    assert log.last(0, wanted)[0] == []
    assert log.last(5, lambda line: False)[0] == []


def test_old_files_are_passed_over(tmp_path: Path) -> None:
    log = AccessLog(tmp_path)
    append(tmp_path, "1")
    rotate(tmp_path, 1)
    append(tmp_path, "2")
    assert log.last(-1, bool)[0] == [b"1", b"2"]
    later_s = (tmp_path / "access.log").stat().st_mtime + 1
    assert log.last(-1, bool, later_s)[0] == [b"2"]  # the newest one is always looked at: it is being written


def test_a_place_that_is_none_is_the_beginning() -> None:
    for text in ("", "x", "x:", "x:-1", "x:1.5"):
        assert Place.of(text) == Place()
    assert Place.of("ab:12") == Place("ab", 12)
    assert str(Place()) == ""

from homeport_control.spec.ranges import Range
from homeport_control.spec.reading import read
from homeport_control.spec.resources import Resources, resources_text


def test_nothing_asked_is_no_minimum() -> None:
    assert read(Resources, {}) == (Resources(), ())
    assert resources_text(Resources()) == "any"


def test_all_of_it_is_read_and_shown() -> None:
    resources, problems = read(
        Resources, {"cpu": "2..", "memory": "16GB..", "disk": {"size": 100}, "shm_size": "8 gb", "gpu": "24GB:2"}
    )
    assert problems == ()
    assert resources is not None
    assert resources.cpu == Range(2, None)
    assert resources.memory_mib == Range(16384, None)
    assert resources.disk_mib == Range(102400, 102400)
    assert resources.shm_size_mib == 8192
    assert resources_text(resources) == "2..xCPU, 16GB.., 24GB:2, 100GB disk, 8GB shm"


def test_python_speaks_in_mib_and_documents_in_gb() -> None:
    assert Resources(shm_size_mib=64).shm_size_mib == 64
    resources, _ = read(Resources, {"shm_size": 64})
    assert resources is not None
    assert resources.shm_size_mib == 65536


def test_every_wrong_key_is_told_at_once() -> None:
    _, problems = read(Resources, {"cpu": 0, "memory": "much", "gpu": {"cout": 1}, "ram": 1})
    assert [problem.path for problem in problems] == ["cpu", "memory", "gpu.cout", "ram"]

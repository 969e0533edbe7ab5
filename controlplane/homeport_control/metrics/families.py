"""A way to say a family of samples in one line: name, help, labels, and values that may be missing. PURE."""

from collections.abc import Iterable, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

Labels = tuple[str, ...]


class Gauges:
    """Several gauges with the same labels, such as all that is known of one GPU. A value that is not known has no sample."""

    def __init__(self, prefix: str, labels: Labels, helps: Mapping[str, str]) -> None:
        self._families = {
            name: GaugeMetricFamily(f"{prefix}_{name}", help_text, labels=labels) for name, help_text in helps.items()
        }

    def add(self, labels: Labels, **values: float | None) -> None:
        for name, value in values.items():
            if value is not None:
                self._families[name].add_metric(labels, value)

    @property
    def families(self) -> Iterable[Metric]:
        return self._families.values()


def counter(name: str, help_text: str, labels: Labels, samples: Iterable[tuple[Labels, float]]) -> Metric:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, count in samples:
        family.add_metric(values, count)
    return family


def gauge(name: str, help_text: str, labels: Labels, samples: Iterable[tuple[Labels, float]]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def histogram(
    name: str, help_text: str, labels: Labels, samples: Iterable[tuple[Labels, Mapping[float, int], float]]
) -> Metric:
    """`samples`: labels, how many in each bucket alone by its upper bound, and the sum of all values."""
    family = HistogramMetricFamily(name, help_text, labels=labels)
    for values, inside, total in samples:
        below, buckets = 0, []
        for bound in sorted(inside):
            below += inside[bound]
            buckets.append((_bound(bound), float(below)))
        if not buckets or buckets[-1][0] != "+Inf":
            buckets.append(("+Inf", float(below)))
        family.add_metric(values, buckets, total)
    return family


def _bound(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(value)

"""The example site, as the demonstration uses it."""

from pathlib import Path

import manifests
from manifests.dump import dump
from manifests.load import is_manifest, load
from manifests.references import check

EXAMPLES = sorted(path for path in (Path(manifests.__file__).parent / "examples").iterdir() if is_manifest(path.name))


def test_the_examples_are_a_site_without_problems() -> None:
    loaded = load({path.name: path.read_bytes() for path in EXAMPLES})
    assert check(loaded.objects, loaded.origins) == ()
    assert {"Network/main", "Machine/pc07", "Image/demo", "Session/pc07"} <= {one.key for one in loaded.objects}
    assert load({"m": dump(loaded.objects).encode()}).objects == loaded.objects

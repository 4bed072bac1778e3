"""What a source is answered whose objects somebody else manages."""

from controller.core.sources import judge
from manifests.kinds import Object
from manifests.load import load

SITE = b"""\
apiVersion: ggnet/v1
kind: Network
metadata: {name: main}
spec: {cidr: 10.77.0.0/24, serverAddress: 10.77.0.1}
---
apiVersion: ggnet/v1
kind: Machine
metadata: {name: pc07}
spec: {macs: ["52:54:00:00:00:07"], address: 10.77.0.57}
"""


def made_by_hand() -> list[Object]:
    return [
        one.model_copy(update={"metadata": one.metadata.model_copy(update={"managed_by": "api:ada"})})
        for one in load({"": SITE}).objects
    ]


def test_what_is_managed_elsewhere_is_told_once_with_file_and_line_and_does_not_collide_with_itself() -> None:
    verdict = judge({"site.yaml": SITE}, "git:main", made_by_hand(), approved=False)
    assert [str(one) for one in verdict.problems] == [
        "site.yaml:1: Network/main metadata.name: Network/main is managed by api:ada; delete it there first",
        "site.yaml:6: Machine/pc07 metadata.name: Machine/pc07 is managed by api:ada; delete it there first",
    ]


def test_what_collides_with_another_object_that_is_managed_elsewhere_is_told_as_well() -> None:
    other = SITE.split(b"---\n")[1].replace(b"name: pc07", b"name: pc08")
    verdict = judge({"site.yaml": other}, "git:main", made_by_hand(), approved=False)
    assert any("52:54:00:00:00:07 is that of Machine/pc07" in one.message for one in verdict.problems)

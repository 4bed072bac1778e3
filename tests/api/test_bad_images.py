"""What can be no image, version, channel or source: one sentence that names object and field, and nothing changes."""

import pytest

from tests.api.served import SITE, Served, session, several

IMAGE = "apiVersion: ggnet/v1\nkind: Image\nmetadata: {{name: {name}}}\nspec: {{source: {source}{more}}}\n"


def image(name: str = "win11", source: str = "{path: win11.raw}", more: str = "") -> str:
    return IMAGE.format(name=name, source=source, more=more)


BAD = {
    "a path that leads out": (image(source="{path: ../../etc/x}"), "Image/win11", "spec.source.path"),
    "an absolute path": (image(source="{path: /etc/x}"), "Image/win11", "spec.source.path"),
    "an upload that is a path": (image(source="{upload: ../../etc/x}"), "Image/win11", "spec.source.upload"),
    "a name that is a path": (image(name="../../etc/x"), "Image", "metadata.name"),
    "a file's URL": (image(source="{url: 'file:///etc/x', sha256: " + "0" * 64 + "}"), "Image/win11", "spec.source.url"),
    "a channel that is a path": (image(more=", channels: {../../x: v1}"), "Image/win11", "spec.channels"),
    "a channel to no number": (image(more=", channels: {stable: ../v1}"), "Image/win11", "spec.channels"),
    "a version that is a path": (session(7, image="win11@../../etc/x"), "Session/pc07", "spec.image"),
    "an image that there is none of": (session(7, image="win12@v1"), "Session/pc07", "spec.image"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_no_image_is_refused_with_one_sentence_that_names_it(site: Served, what: str) -> None:
    text, key, field = BAD[what]
    with site.http as http:
        before = http.get("/api/v1/images").json()["items"]
        refused = http.post("/api/v1/apply", content=text)
        assert refused.status_code == 422, refused.text
        [error] = refused.json()["errors"]
        assert error["field"].startswith(f"{field}"), error
        assert key in refused.text
        assert http.get("/api/v1/images").json()["items"] == before
    done = site.ggnet("apply", "-f", "-", stdin=text)
    assert (done.returncode, len(done.stderr.strip().splitlines()) <= 3) == (5, True), done.stderr


def test_an_image_in_use_is_not_deleted_and_whoever_uses_it_is_named(site: Served) -> None:
    site.apply(several(SITE, session(7)))
    done = site.ggnet("delete", "image/win11")
    assert (done.returncode, "Session/pc07 spec.image" in done.stderr) == (5, True), done.stderr
    with site.http as http:
        assert "deletedAt" not in http.get("/api/v1/images/win11").json()["metadata"]

"""Verbs that hands know from other tools, and what does that here."""

_BY_MANIFEST = "ggnet get KIND/NAME -o yaml > FILE, change it, then ggnet apply -f FILE"
_LIST = "ggnet get sessions, machines, images or networks"
_AGAIN = "ggnet stop MACHINE --wait, then ggnet start MACHINE"
_KINDS = "kinds are network, machine, image and session; ggnet schema export has their fields"
INSTEAD = {
    **dict.fromkeys(("edit", "patch", "label", "annotate", "set", "replace"), _BY_MANIFEST),
    **dict.fromkeys(("list", "ls", "ps", "status", "top", "machines", "networks", "images", "sessions"), _LIST),
    **dict.fromkeys(("restart", "reboot", "rollout"), _AGAIN),
    **dict.fromkeys(("explain", "api-resources"), _KINDS),
    **dict.fromkeys(("logs", "log"), "ggnet events KIND/NAME, or on the server journalctl -u ggnet-controller"),
    **dict.fromkeys(("show", "inspect"), "ggnet describe KIND/NAME"),
    **dict.fromkeys(("rm", "remove"), "ggnet delete KIND/NAME"),
    "config": "ggnet context",
    "create": "ggnet apply -f FILE",
    "diff": "ggnet plan -f FILE",
    "help": "ggnet -h, or ggnet VERB -h",
    "import": "ggnet image upload FILE --name NAME",
    "undelete": "ggnet deleted, then ggnet restore KIND/NAME",
    "upload": "ggnet image upload FILE --name NAME",
    "version": "ggnet --version",
}
"""Verb that there is not -> what to type instead."""

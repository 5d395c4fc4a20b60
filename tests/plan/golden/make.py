"""Makes the files of this directory: the values of plans, names and bodies in version 0.2.0. They are read for ever.

    cd tests/plan && PYTHONPATH=../../daemon ../../.venv/bin/python -m golden.make

What later versions can say besides is added; what is in them stays. The one exception are keys and names of pins where
`IMAGE_MAKER` or `LINKER` has been counted up: then other images are made, and have to have other names.
"""

from __future__ import annotations

import json

from golden import catalogue, values


def text_of(document: catalogue.Document) -> str:
    """Return a plan's form in records."""
    return json.dumps({"version": 1, "plan": document}, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def plans() -> dict[str, values.Values]:
    """Return what names stand for."""
    return {
        what: values.of_plan(text_of(plan), text_of(catalogue.pinned(plan)), catalogue.CALLED_BEFORE.get(what))
        for what, plan in catalogue.PLANS.items()
    }


def bodies() -> dict[str, values.Values]:
    """Return the values of requests: those that are recorded, by their files, and ours."""
    made = {
        path.name: {"file": path.name} | values.of_body(*values.recorded(path.name))
        for path in sorted(values.RECORDED.glob("*-post.json"))
    }
    own = catalogue.BODIES.items()
    return made | {what: {"body": body, "api": "v1alpha2"} | values.of_body(body, "v1alpha2") for what, body in own}


MADE = {
    "plans": plans,
    "parts": lambda: {what: values.of_part(text_of(plan)) for what, plan in catalogue.PARTS.items()},
    "names": lambda: {", ".join(filter(None, said)): values.of_name(*said) for said in catalogue.NAMES},
    "bodies": bodies,
}

if __name__ == "__main__":
    for name, make in MADE.items():
        text = json.dumps(make(), indent=1, ensure_ascii=False)
        (values.HERE / f"{name}.json").write_text(text + "\n", "utf-8")

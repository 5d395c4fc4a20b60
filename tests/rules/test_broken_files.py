"""What is wrong with files of rules, word for word: each file, and the sentences that its writer gets."""

from __future__ import annotations

import pytest
from reading_rules import FILE, read

from wavelet.rules.members import RulesBroken

BROKEN = [
    (
        "a: &x b\nc: *x",
        ["line 2: aliases (*name) are not read; write the value out"],
    ),
    (
        "- {do: {refuse: a}}\n---\n- {do: {refuse: b}}",
        ["line 3: a second document (behind `---` or `...`) is not read; put all into one"],
    ),
    (
        "just text",
        ["is the text 'just text'; it takes a list of rules"],
    ),
    (
        "when: {image: a}\ndo: {refuse: b}",
        ["has 'when', 'do' where a list of rules is taken (this is one rule: put `- ` before it)"],
    ),
    (
        "ruels: []",
        ["has 'ruels' where a list of rules is taken"],
    ),
    (
        "rules: 3",
        ["is the text '3'; it takes a list of rules"],
    ),
    (
        "[[]]",
        ["rule 1: is an empty list; it takes a mapping of name, when, do, to, names"],
    ),
    (
        "- refuse: x",
        [
            "rule 1: refuse: is not known here; it belongs below `do`",
            ("rule 1: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
        ],
    ),
    (
        "- when: {image: a}",
        [("rule 1: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels")],
    ),
    (
        "- do:",
        [("rule 1: do: is empty; it takes a mapping of refuse, redirect, platform, require, packs, env, labels")],
    ),
    (
        '- do: {refuse: "a\\e[31mb"}',
        ["rule 1: do.refuse: holds control characters, which terminals would obey"],
    ),
    (
        '- {"a\\nb": x, do: {refuse: x}}',
        ["rule 1: a\\nb: is not known here; known are name, when, do, to, names"],
    ),
    (
        "- {when: {image: quay.io/lab}, do: {redirect: reg.site}}",
        ["rule 1: do.redirect: 'reg.site' would replace the whole name of an image; write reg.site/PATH"],
    ),
    (
        "- do: {}",
        [("rule 1: do: does nothing; it takes one or more of refuse, redirect, platform, require, packs, env, labels")],
    ),
    (
        "- {name: a b, do: {refuse: x}}",
        ["rule 1 (a b): name: 'a b' is no name: 1 to 64 letters, digits and . _ - between them"],
    ),
    (
        "- {name: [x], do: {refuse: x}}",
        ["rule 1: name: is a list; it takes a text"],
    ),
    (
        "- {name: '', do: {refuse: x}}",
        ["rule 1: name: is empty; it takes a text"],
    ),
    (
        "- {wehn: {image: a}, do: {refuse: x}}",
        ["rule 1: wehn: is not known here; did you mean `when`?"],
    ),
    (
        "- {name: hub, when: {imgae: a}, do: {refuse: x}}",
        ["rule 1 (hub): when.imgae: is not known here; did you mean `image`?"],
    ),
    (
        "- {when: {colour: a}, do: {refuse: x}}",
        [
            (
                "rule 1: when.colour: is not known here; known are image, not, source, platform, door, form, "
                "user, group, labels"
            )
        ],
    ),
    (
        "- {when: , do: {refuse: x}}",
        [
            (
                "rule 1: when: is empty; it takes a mapping of image, not, source, platform, door, form, user, "
                "group, labels"
            )
        ],
    ),
    (
        "- {when: [a], do: {refuse: x}}",
        [
            (
                "rule 1: when: is a list; it takes a mapping of image, not, source, platform, door, form, user, "
                "group, labels"
            )
        ],
    ),
    (
        "- {when: {image: }, do: {refuse: x}}",
        ["rule 1: when.image: is empty; it takes a text, or a list of texts"],
    ),
    (
        "- {when: {image: []}, do: {refuse: x}}",
        ["rule 1: when.image: is an empty list; it takes a text, or a list of texts"],
    ),
    (
        "- {when: {image: [{a: b}]}, do: {refuse: x}}",
        ["rule 1: when.image: holds a mapping; it takes a text, or a list of texts"],
    ),
    (
        "- {when: {image: 'docker://a'}, do: {refuse: x}}",
        ["rule 1: when.image: 'docker://a' has a scheme; leave it out, as in `docker.io/**`"],
    ),
    (
        "- {when: {not: quay.io/Foo}, do: {refuse: x}}",
        [
            (
                "rule 1: when.not: 'quay.io/Foo': 'Foo' is no part of a repository: lower-case letters, digits "
                "and . _ - are, and the wildcards * and **"
            )
        ],
    ),
    (
        "- {when: {source: [image, docker]}, do: {refuse: x}}",
        ["rule 1: when.source: is 'docker'; it takes image or conda or containerfile"],
    ),
    (
        "- {when: {source: conad}, do: {refuse: x}}",
        ["rule 1: when.source: is 'conad'; it takes image or conda or containerfile; did you mean `conda`?"],
    ),
    (
        "- {when: {platform: windows/amd64}, do: {refuse: x}}",
        [
            (
                "rule 1: when.platform: unsupported container platform 'windows/amd64'; it can be linux/amd64, "
                "linux/arm64 (also /v8), linux/arm (also /v5, /v6, /v7)"
            )
        ],
    ),
    (
        "- {when: {door: http}, do: {refuse: x}}",
        ["rule 1: when.door: is 'http'; it takes wave or grpc or registry or sif or inspect"],
    ),
    (
        "- {when: {user: bob}, do: {refuse: x}}",
        ["rule 1: when.user: there is no user 'bob' on this node; write the number, or add the user"],
    ),
    (
        "- {when: {user: 4294967295}, do: {refuse: x}}",
        ["rule 1: when.user: 4294967295 is no number of a user"],
    ),
    (
        "- {when: {user: -1}, do: {refuse: x}}",
        ["rule 1: when.user: there is no user '-1' on this node; write the number, or add the user"],
    ),
    (
        "- {when: {group: [lab, staff]}, do: {refuse: x}}",
        ["rule 1: when.group: there is no group 'staff' on this node; write the number, or add the group"],
    ),
    (
        "- {when: {labels: team}, do: {refuse: x}}",
        ["rule 1: when.labels: is the text 'team'; it takes a mapping of names to texts"],
    ),
    (
        "- {when: {labels: {team: [a]}}, do: {refuse: x}}",
        ["rule 1: when.labels.team: is a list; it takes a text"],
    ),
    (
        "- {when: {labels: {team: 'a***'}}, do: {refuse: x}}",
        [("rule 1: when.labels.team: 'a***' has more stars at one place than `**`, which stands for any text")],
    ),
    (
        "- do: {refuse: }",
        ["rule 1: do.refuse: is empty; it takes a text"],
    ),
    (
        "- do: {refuse: [a]}",
        ["rule 1: do.refuse: is a list; it takes a text"],
    ),
    (
        "- do: {refuse: x, env: {A: b}, packs: ca}",
        ["rule 1: do: refuses, so that packs, env would do nothing; make two rules of it"],
    ),
    (
        "- do: {redirect: quay.io}",
        [
            (
                "rule 1: do.redirect: the images of when.image have no registry and path in common that could be "
                "replaced; say it: redirect: {from: REGISTRY/PATH, to: REGISTRY/PATH}"
            )
        ],
    ),
    (
        "- {when: {image: '**'}, do: {redirect: quay.io}}",
        [
            (
                "rule 1: do.redirect: the images of when.image have no registry and path in common that could be "
                "replaced; say it: redirect: {from: REGISTRY/PATH, to: REGISTRY/PATH}"
            )
        ],
    ),
    (
        "- {when: {image: [docker.io/**, ghcr.io/**]}, do: {redirect: quay.io/mirror}}",
        [
            (
                "rule 1: do.redirect: the images of when.image have no registry and path in common that could be "
                "replaced; say it: redirect: {from: REGISTRY/PATH, to: REGISTRY/PATH}"
            )
        ],
    ),
    (
        "- {when: {image: 'quay.io/**'}, do: {redirect: hub/mirror}}",
        [
            (
                "rule 1: do.redirect: 'hub/mirror' is no REGISTRY or REGISTRY/PATH without a tag, such as "
                "harbor.site.example/hub or docker.io/biocontainers"
            )
        ],
    ),
    (
        "- {when: {image: 'quay.io/**'}, do: {redirect: 'harbor.example/hub:1'}}",
        [
            (
                "rule 1: do.redirect: 'harbor.example/hub:1' is no REGISTRY or REGISTRY/PATH without a tag, such "
                "as harbor.site.example/hub or docker.io/biocontainers"
            )
        ],
    ),
    (
        "- {when: {image: 'quay.io/**'}, do: {redirect: '127.0.0.1:9090/quay.io'}}",
        [
            (
                "rule 1: do.redirect: '127.0.0.1:9090/quay.io' is this node's own registry, which would ask "
                "itself; name the registry where the images are"
            )
        ],
    ),
    (
        "- {when: {image: 'quay.io/**'}, do: {redirect: QUAY.io}}",
        ["rule 1: do.redirect: 'QUAY.io' is where the images are already"],
    ),
    (
        "- do: {redirect: {to: quay.io}}",
        ["rule 1: do.redirect: has no `from`; it takes REGISTRY/PATH, or {from: …, to: …}"],
    ),
    (
        "- do: {redirect: {from: biocontainers, to: quay.io/biocontainers}}",
        [
            (
                "rule 1: do.redirect.from: 'biocontainers' is no REGISTRY or REGISTRY/PATH without a tag, such as"
                " harbor.site.example/hub or docker.io/biocontainers"
            )
        ],
    ),
    (
        "- do: {redirect: {from: quay.io, to: }}",
        ["rule 1: do.redirect.to: is empty; it takes a text"],
    ),
    (
        "- do: {redirect: {from: quay.io, too: a.b}}",
        [
            "rule 1: do.redirect.too: is not known here; did you mean `to`?",
            "rule 1: do.redirect: has no `to`; it takes REGISTRY/PATH, or {from: …, to: …}",
        ],
    ),
    (
        "- do: {platform: amd65}",
        [
            (
                "rule 1: do.platform: unsupported container platform 'amd65'; it can be linux/amd64, linux/arm64 "
                "(also /v8), linux/arm (also /v5, /v6, /v7)"
            )
        ],
    ),
    (
        "- do: {platform: [linux/amd64, linux/arm64]}",
        ["rule 1: do.platform: is a list; it takes a text"],
    ),
    (
        "- do: {require: digest}",
        ["rule 1: do.require: is the text 'digest'; it takes a mapping of platform, digest"],
    ),
    (
        "- do: {require: {}}",
        ["rule 1: do.require: requires nothing; it takes platform and digest"],
    ),
    (
        "- do: {require: {digests: true}}",
        ["rule 1: do.require.digests: is not known here; did you mean `digest`?"],
    ),
    (
        "- do: {require: {digest: yes}}",
        ["rule 1: do.require.digest: 'yes' is neither `true` nor a digest, sha256:…"],
    ),
    (
        "- do: {require: {digest: [true, 'sha256:0000000000000000000000000000000000000000000000000000000000000000']}}",
        ["rule 1: do.require.digest: takes `true`, or digests, and not both"],
    ),
    (
        "- do: {require: {platform: sparc}}",
        [
            (
                "rule 1: do.require.platform: unsupported container platform 'sparc'; it can be linux/amd64, "
                "linux/arm64 (also /v8), linux/arm (also /v5, /v6, /v7)"
            )
        ],
    ),
    (
        "- {when: {user: alice, door: wave}, do: {require: {digest: true}}}",
        [
            (
                "rule 1: when.door: cannot be told where a digest is judged, which may be long after it was asked"
                " for; with `require.digest` take image, not, source and platform alone"
            ),
            (
                "rule 1: when.user: cannot be told where a digest is judged, which may be long after it was asked"
                " for; with `require.digest` take image, not, source and platform alone"
            ),
        ],
    ),
    (
        "- do: {packs: []}",
        ["rule 1: do.packs: is an empty list; it takes names of packs"],
    ),
    (
        "- do: {packs: Trace}",
        ["rule 1: do.packs: 'Trace' is no pack; it takes NAME or NAME@VERSION"],
    ),
    (
        "- do: {packs: [trace@]}",
        ["rule 1: do.packs: 'trace@' is no pack; it takes NAME or NAME@VERSION"],
    ),
    (
        "- do: {packs: [[a]]}",
        ["rule 1: do.packs: has a list for a pack; it takes NAME or NAME@VERSION"],
    ),
    (
        "- do: {packs: [{missing: skip}]}",
        ["rule 1: do.packs: has no `name`; it takes NAME, NAME@VERSION or {name: …, missing: skip}"],
    ),
    (
        "- do: {packs: [{name: a, missing: ignore}]}",
        ["rule 1: do.packs.missing: is 'ignore'; it takes refuse or skip"],
    ),
    (
        "- do: {env: [A]}",
        ["rule 1: do.env: 'A' has no value; it takes NAME=VALUE, or a mapping"],
    ),
    (
        "- do: {env: {1A: b}}",
        ["rule 1: do.env: '1A' is no name of a variable: letters, digits and _, and no digit first"],
    ),
    (
        "- do: {env: {A: [b]}}",
        ["rule 1: do.env.A: is a list; it takes a text"],
    ),
    (
        "- do: {env: {}}",
        ["rule 1: do.env: is an empty mapping; it takes a mapping of names to texts"],
    ),
    (
        '- do: {env: {A: "b\\0"}}',
        ["rule 1: do.env: A holds a NUL character, which no process can be given"],
    ),
    (
        "- do: {labels: [a=b]}",
        ["rule 1: do.labels: is a list; it takes a mapping of names to texts"],
    ),
    (
        "- do: {labels: {a b: c}}",
        ["rule 1: do.labels: 'a b' is no name of a label: letters, digits and . _ - / between them"],
    ),
    (
        "- {do: {refuse: x}, to: all}",
        ["rule 1: to: is 'all'; it takes each or whole"],
    ),
    (
        "- {do: {env: A=b}, to: [whole, each]}",
        ["rule 1: to: takes one of them alone: each or whole"],
    ),
    (
        "- {do: {env: A=b}, names: kept}",
        ["rule 1: names: is 'kept'; it takes changed"],
    ),
    (
        "- {do: {refues: x}, when: {usr: 1}}\n- {name: two, do: {env: {}}}",
        [
            "rule 1: when.usr: is not known here; did you mean `user`?",
            "rule 1: do.refues: is not known here; did you mean `refuse`?",
            "rule 2 (two): do.env: is an empty mapping; it takes a mapping of names to texts",
        ],
    ),
    (
        "[{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}]",
        [
            ("rule 1: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 2: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 3: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 4: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 5: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 6: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 7: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 8: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 9: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 10: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 11: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 12: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 13: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 14: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 15: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 16: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 17: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 18: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 19: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            ("rule 20: has no `do`; it takes one or more of refuse, redirect, platform, require, packs, env, labels"),
            "and 5 more",
        ],
    ),
    (
        "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
        ["line 1: is nested more than 32 deep"],
    ),
]


@pytest.mark.parametrize(("text", "problems"), BROKEN, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_wrong(text: str, problems: list[str]) -> None:
    with pytest.raises(RulesBroken) as caught:
        read(text)
    assert list(caught.value.problems) == [f"{FILE}: {each}" for each in problems]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"- do: {{refuse: {'x' * 1001}}}", "rule 1: do.refuse: has 1001 characters; 1000 are the most"),
        (f"- do: {{labels: {{a: {'x' * 20_000}}}}}", "rule 1: do.labels: has 20001 characters; 16384 are the most"),
        (
            f"- when: {{image: [{'a,' * 1001}]}}\n  do: {{refuse: x}}",
            "rule 1: when.image: has 1001 values; 1000 are the most",
        ),
        ("- do: {refuse: x}\n" * 2001, "has 2001 rules; 2000 are the most"),
        (f"{'[' * 40}{']' * 40}", "line 1: is nested more than 32 deep"),
    ],
    ids=["sentence", "labels", "values", "rules", "depth"],
)
def test_what_is_too_much(text: str, problem: str) -> None:
    with pytest.raises(RulesBroken) as caught:
        read(text)
    assert caught.value.problems == (f"{FILE}: {problem}",)


def test_all_that_is_wrong_is_told_up_to_a_limit() -> None:
    with pytest.raises(RulesBroken) as caught:
        read("- do: {}\n" * 30)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == f"{FILE}: and 10 more"


def test_what_is_no_yaml() -> None:
    """What follows is in the words of the parser, of which there are several."""
    with pytest.raises(RulesBroken, match=f"^{FILE}: line 1: is not YAML: .*; a value that begins with \\* belongs in"):
        read("- when: {image: **:latest}\n")
    with pytest.raises(RulesBroken, match=f"^{FILE}: line 2: is not YAML: "):
        read("- do: {refuse: no")

"""The rules of the site: which images may be used here, where they come from, and what is added to them.

`model` has rules as values, `patterns` their globs. `reading` makes rules of a file's text (`members`, `read_when`,
`read_do`), `checks` warns of what they cannot mean; `files` and `directory` have them from the disk. `matching`,
`applying`, `adding` and `admission` say what rules make of a plan, and `site_rules` is the service for all doors.
"""

"""The directory of SIF files that the nodes of a site share (`sif.directory`): each file is made by one of them, once.

    <directory>/<readable>--<32 hexadecimal digits>.sif    what everybody may read, 0644
    <directory>/private-<uid>/<the same>                   a user's own, 0600, in a directory of that user (0700)
    <directory>/.wavelet/                                  what the daemons need: claims, and files that are written

It knows nothing of images: a file is a name and bytes. `names` are pure; `tree`, `room`, `claim_files` and `writing`
block and run in threads; `claiming` waits; `directory` is what others use.
"""

"""The student's own copies of the lessons: filled, updated, read for progress.

`places` says which folders, `versions` what the course wrote and when, `merge` carries
work from one version into the next, `update` does so on the disk, `progress` reads what
is done, `solution` shows an answer, `server` updates before a hub shows the folder.
"""

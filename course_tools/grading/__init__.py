"""Grade submissions with nbgrader, whatever is in them.

nbgrader runs a submission on the instructor's machine, and believes it. By
``nbgrader_config.py`` the steps here stand among its own:

- `submissions`: what was handed in, read as data
- `collect`: from files, archives or an exchange
- `restore`: the released checks, put back
- `execute`: a run in the `sandbox`, by the `judge`, who asks the kernel by the `probe`
- `gradebook`: one submission after another, and the table of grades
"""

"""The numbered notebooks in order, strictly: presets are checked first, a failure is one sentence and leaves no result.

A notebook needs only `require`, which stops it where the notebooks before it have not run, `register_output` and
`record`, to say which files it made and which numbers a test may assert.
"""

from amtgan_lib.pipeline.prerequisites import NotReady, into_view, require
from amtgan_lib.pipeline.presets import PresetError, load, plan
from amtgan_lib.pipeline.runner import NotebookFailed, run
from amtgan_lib.pipeline.runs import RunError, record, register_output, values

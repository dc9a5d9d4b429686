"""Commercial face comparison: what Face++, Aliyun, Microsoft and Amazon say about protected photos.

Nothing is sent before ``ask`` is told ``confirm=True``. Keys come from the environment alone, SDKs are imported when
they are used, and answers are kept on disk by the hashes of the pictures, with their date.
"""

from amtgan_lib.evaluation.services.adapters import SERVICES, named
from amtgan_lib.evaluation.services.answers import Answers, Failure, Score, Service, picture
from amtgan_lib.evaluation.services.asking import NotConfirmed, ask, estimate, outcomes, questions, success_table

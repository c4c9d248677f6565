"""The drop with files that cannot grow beyond ACTUALS_TEST_FILE_LIMIT bytes: a write fails as on a full disk."""

import os
import resource

from actuals_pipelines.sources.sftp.__main__ import main

if __name__ == "__main__":
    limit = int(os.environ["ACTUALS_TEST_FILE_LIMIT"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # Python ignores the signal and sees EFBIG
    main()

from __future__ import annotations

import torch

# Networks this small are slower on two threads, much slower where tests run side by side.
torch.set_num_threads(1)

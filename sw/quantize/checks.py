"""What the functions of this package accept, and what they say to anything else."""

import torch
from torch import Tensor

from sw.formats import OverflowPolicy, RoundingMode, ScalarFormat
from sw.quantize.plan import DTYPE_NAMES, FLOAT_DTYPES, ScalarPlan, Settings, fits, plan_of

MAX_RANDOM_BITS = 62
DEFAULT_RANDOM_BITS = 32


def is_readable(x: Tensor) -> bool:
    """Whether the elements of ``x`` can be looked at: not while compiling, not inside torch.func transforms."""
    if torch.compiler.is_compiling() or x.is_meta:
        return False
    return not torch._C._functorch.is_functorch_wrapped_tensor(x)


def check_input(x: Tensor) -> None:
    """Raise TypeError unless ``x`` is a dense floating-point tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(f"Input must be a torch.Tensor, not {type(x).__name__!r}; convert it with torch.as_tensor")
    if x.layout != torch.strided:
        raise TypeError(f"Input layout must be torch.strided, not {x.layout}; convert it with .to_dense()")
    if x.dtype not in FLOAT_DTYPES:
        raise TypeError(f"Input dtype must be {DTYPE_NAMES}, not {x.dtype}; convert it with .to(torch.float32)")


def work_dtype(x: Tensor) -> torch.dtype:
    """Return the type in which ``x`` is scaled: float64 for float64, float32 for the others."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def check_result_dtype(plan: ScalarPlan, dtype: torch.dtype) -> None:
    """Raise unless ``dtype`` is a floating-point type that holds every value of the format."""
    if dtype not in FLOAT_DTYPES:
        raise TypeError(f"Result dtype must be {DTYPE_NAMES}, not {dtype}")
    if not fits(plan, dtype):
        mend = torch.float32 if fits(plan, torch.float32) else torch.float64
        raise ValueError(f"Result dtype must hold every value of {plan.name}, not {dtype}; give dtype={mend}")


# A compiler takes the answer as it is: it need not trace through rational arithmetic.
@torch.compiler.assume_constant_result
def settings_of(fmt: ScalarFormat, rounding: RoundingMode, overflow: OverflowPolicy, random_bits: int | None,
                propagate_nan: bool, dtype: torch.dtype | None) -> Settings:
    """Check one way to quantize, and return it.

    ``random_bits`` is None for the default. ``dtype``, if not None, is to hold every value.

    Raises
    ------
    TypeError, ValueError
        If anything is of the wrong type, or does not suit the rest.
    """
    plan = plan_of(fmt)
    if not isinstance(rounding, RoundingMode):
        raise TypeError(f"Rounding must be a RoundingMode, not {rounding!r}")
    if not isinstance(overflow, OverflowPolicy):
        raise TypeError(f"Overflow must be an OverflowPolicy, not {overflow!r}")
    fmt.check_overflow(overflow)
    if dtype is not None:
        check_result_dtype(plan, dtype)
    stochastic = rounding is RoundingMode.STOCHASTIC
    if random_bits is None:
        random_bits = DEFAULT_RANDOM_BITS if stochastic else 0
    if not isinstance(random_bits, int) or isinstance(random_bits, bool):
        raise TypeError(f"Random bit count must be an integer, not {random_bits!r}")
    if stochastic and not 1 <= random_bits <= MAX_RANDOM_BITS:
        raise ValueError(f"Random bit count must be between 1 and {MAX_RANDOM_BITS} for stochastic rounding, "
                         f"not {random_bits!r}")
    if not stochastic and random_bits:
        raise ValueError(f"Random bit count must be 0 for {rounding.value} rounding, not {random_bits!r}")
    return Settings(plan=plan, rounding=rounding, overflow=overflow, random_bits=random_bits,
                    propagate_nan=propagate_nan)


def check_random(x: Tensor, settings: Settings, random: Tensor | None, random_bits: int | None,
                 generator: torch.Generator | None) -> Tensor | None:
    """Return the random integers of a stochastic rounding, int64 and of the shape of ``x``; None in other modes.

    Raises
    ------
    TypeError, ValueError
        If they are missing, superfluous, or (where they can be read) out of range.
    """
    if settings.rounding is not RoundingMode.STOCHASTIC:
        if random is not None or generator is not None:
            raise ValueError("Random bits must be left out for "
                             f"{settings.rounding.value} rounding; they are for stochastic rounding")
        return None
    if random is None and generator is None:
        raise ValueError("Random bits must be given for stochastic rounding, not None: "
                         "random= (integers) with random_bits=, or generator= (a torch.Generator)")
    if random is None:
        if not isinstance(generator, torch.Generator):
            raise TypeError(f"Generator must be a torch.Generator, not {generator!r}")
        return torch.randint(1 << settings.random_bits, x.shape, generator=generator, device=x.device)
    if generator is not None:
        raise ValueError("Random bits must come from random= or from generator=, not from both")
    if random_bits is None:
        raise ValueError("Random bit count must be given with random=, not None: random_bits=N for integers below 2**N")
    if not isinstance(random, Tensor):
        raise TypeError(f"Random bits must be a torch.Tensor of integers, not {type(random).__name__!r}")
    if random.dtype not in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64):
        raise TypeError(f"Random bits must be of an integer dtype, not {random.dtype}")
    if random.device != x.device:
        raise ValueError(f"Random bits must be on the input's device {x.device}, not on {random.device}")
    try:
        random = random.expand(x.shape)
    except RuntimeError as error:
        raise ValueError(f"Random bits must broadcast to the input's shape {tuple(x.shape)}, not have shape "
                         f"{tuple(random.shape)}") from error
    random = random.to(torch.int64)
    if random.numel() and is_readable(random):
        low, high = (int(extreme) for extreme in torch.aminmax(random))
        if low < 0 or high >> settings.random_bits:
            raise ValueError(f"Random bits must be between 0 and {(1 << settings.random_bits) - 1}, "
                             f"not {low} to {high}")
    return random

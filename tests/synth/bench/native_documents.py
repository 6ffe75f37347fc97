"""What the parts of the bench of native code might have measured."""

_FIGURES = {"planes": 2e9, "codes": 1e9, "bound_fraction": 0.64,
            "others": {"scalar": 80e6, "ml_dtypes": None}, "ratios": {"scalar": 25.0, "ml_dtypes": None}}
_UNIT = {"instructions": 1130, "live": 113, "one_thread": _FIGURES, "all_threads": _FIGURES}
_MEMORY = {"start_mib": 40.0, "peak_mib": 1200.0}
_PRODUCT = {"ms": 12.0, "macs": 2.8e9, "bound": 7.9e9, "bound_ms": 6.0, "bound_fraction": 0.5,
            "emulations": {"torch": {"ms": 60.0, "ratio": 5.0}, "QPyTorch": {"ms": 36.0, "ratio": 3.0}}}

DOCUMENTS = {
    "series": {
        "instruction_set": "avx512", "lanes": 512, "threads": 2, "bound": {"one_thread": 7.9e9, "all_threads": 15e9},
        "rows": [{"format": "float16", "hobflops": 16, "multiply": _UNIT, "mac": _UNIT}],
        "others": {"scalar": "compiled C", "ml_dtypes": "the same format"},
        "reasons": {"float16": {"ml_dtypes": "it has no such type"}}, "compiler": "cc",
        "paper": {"scalar_macs": 50e6, "hobflops16_macs": 414e6, "ratio": 8.0, "source": "the abstract"},
        "targets": [{"name": "speed", "target": 12.0, "found": 25.0, "met": True},
                    {"name": "bound", "target": 0.6, "found": 0.4, "met": False}], "memory": _MEMORY},
    "matmul": {
        "shape": [256, 512, 256], "operand": "float8_e4m3fn", "accumulator": "float16_e6m9", "chunk": 64,
        "instruction_set": "avx512", "lanes": 512, "instructions": 480.2, "threads": 2, "elements": 65536,
        "differences": {"torch": 0, "QPyTorch": 7},
        "explanation": "ties go elsewhere", "one_thread": _PRODUCT, "all_threads": _PRODUCT,
        "targets": [{"name": "speed", "target": 100.0, "found": 5.0, "met": False}], "memory": _MEMORY},
    "verification": {
        "instruction_set": "avx512", "threads": 2, "target": "ice40",
        "exhaustive": {"format": "float8_e4m3fn", "vectors": 65536, "sides": {
            "native": {"vectors_per_second": 5e8, "seconds": 1.3e-4, "compile_seconds": 0.2, "measured_vectors": 65536,
                       "ratio": 1.0},
            "amaranth": {"vectors_per_second": 1700.0, "seconds": 38.0, "compile_seconds": 0.1,
                         "measured_vectors": 1024, "ratio": 300000.0},
            "verilator": {"reason": "it is not installed"}}},
        "binary16": {"pairs": 1 << 26, "seconds": 7.0, "threads": 2, "different": 1,
                     "first_difference": {"a": "0x0001", "want": "0x0002"}, "reference_seconds": 0.4, "sample": 4,
                     "complete": False},
        "targets": [{"name": "seconds", "target": 120.0, "found": 7.0, "met": None}], "memory": _MEMORY},
    "packing": {"rows": [{"width": 8, "where": "cache", "bytes": 1 << 17, "pack": 5.9e9, "unpack": 6.7e9,
                          "copy": 43.3e9, "pack_fraction": 0.14, "unpack_fraction": 0.15}], "memory": _MEMORY},
}
"""By the name of the part."""

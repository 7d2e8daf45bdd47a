"""Just enough of TensorFlow Lite Micro's headers to compile against: names and types, nothing that runs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

WARNINGS = ("all", "extra", "conversion", "shadow", "error")

_LITE = "tensorflow/lite/"
_COMMON = """#pragma once
#include <cstddef>
#include <cstdint>
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
struct TfLiteTensor { union { void* data; float* f; int8_t* int8; } data; std::size_t bytes; };
"""
_INTERPRETER = """#pragma once
#include "tensorflow/lite/c/common.h"
#include "tensorflow/lite/schema/schema_generated.h"
#define TFLITE_SCHEMA_VERSION (3)
namespace tflite {
class MicroOpResolver {};
class MicroAllocator;
class MicroResourceVariables;
class MicroInterpreter {
 public:
  MicroInterpreter(const Model*, const MicroOpResolver&, uint8_t*, std::size_t, MicroResourceVariables* = nullptr);
  MicroInterpreter(const Model*, const MicroOpResolver&, MicroAllocator*, MicroResourceVariables* = nullptr);
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor* input(std::size_t);
  TfLiteTensor* output(std::size_t);
  std::size_t arena_used_bytes() const;
};
}
"""
_ALLOCATOR = """#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"
namespace tflite {
class MicroAllocator { public: static MicroAllocator* Create(uint8_t*, std::size_t); };
}
"""
_VARIABLES = """#pragma once
#include "tensorflow/lite/micro/micro_allocator.h"
namespace tflite {
class MicroResourceVariables { public: static MicroResourceVariables* Create(MicroAllocator*, int); };
}
"""
_SCHEMA = """#pragma once
#include <cstdint>
namespace tflite { class Model { public: uint32_t version() const; }; const Model* GetModel(const void*); }
"""


def _headers(methods: Iterable[str]) -> dict[str, str]:
    adders = "\n".join(f"  TfLiteStatus {method}();" for method in methods)
    resolver = (
        '#pragma once\n#include "tensorflow/lite/micro/micro_interpreter.h"\nnamespace tflite {\n'
        f"template <unsigned int> class MicroMutableOpResolver : public MicroOpResolver {{\n public:\n{adders}\n}};\n}}\n"
    )
    return {
        f"{_LITE}c/common.h": _COMMON,
        f"{_LITE}schema/schema_generated.h": _SCHEMA,
        f"{_LITE}micro/micro_interpreter.h": _INTERPRETER,
        f"{_LITE}micro/micro_allocator.h": _ALLOCATOR,
        f"{_LITE}micro/micro_resource_variable.h": _VARIABLES,
        f"{_LITE}micro/micro_mutable_op_resolver.h": resolver,
        f"{_LITE}micro/micro_log.h": "#pragma once\nvoid MicroPrintf(const char* format, ...);\n",
        f"{_LITE}micro/system_setup.h": "#pragma once\nnamespace tflite { void InitializeTarget(); }\n",
        "TensorFlowLite.h": "#pragma once\n",
        "Arduino.h": "#pragma once\nvoid setup(); void loop(); void delay(unsigned long);\n",
    }


def assert_compiles(project: Path, sources: Iterable[str], stubs: Path, methods: Iterable[str]) -> None:
    """A C++ compiler takes the ``sources`` of ``project`` without a warning; skips where there is none."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    for name, text in _headers(methods).items():
        (stubs / name).parent.mkdir(parents=True, exist_ok=True)
        (stubs / name).write_text(text)
    for source in sources:
        path = project / source
        sketch = ("-x", "c++", "-include", "Arduino.h") if path.suffix == ".ino" else ()
        command = [compiler, "-std=c++17", "-c", "-o", os.devnull, *(f"-W{w}" for w in WARNINGS), f"-I{project}", f"-I{stubs}"]
        made = subprocess.run([*command, *sketch, str(path)], capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr

"""A model file's four-bit matrices in the encoding Q4_0 instead of Q4_1; everything else stays as it is.

Usage: requantise.py FROM.gguf TO.gguf
"""

import sys

from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize, quantize

source = GGUFReader(sys.argv[1])
target = GGUFWriter(sys.argv[2], source.fields["general.architecture"].contents())

for field in source.fields.values():
    # The writer makes these itself.
    if field.name.startswith("GGUF.") or field.name == "general.architecture":
        continue
    inner = field.types[1] if field.types[0] == GGUFValueType.ARRAY else None
    target.add_key_value(field.name, field.contents(), field.types[0], inner)

for tensor in source.tensors:
    data, encoding = tensor.data, tensor.tensor_type
    if encoding == GGMLQuantizationType.Q4_1:
        encoding = GGMLQuantizationType.Q4_0
        data = quantize(dequantize(data, tensor.tensor_type), encoding)
    target.add_tensor(tensor.name, data, raw_dtype=encoding)

target.write_header_to_file()
target.write_kv_data_to_file()
target.write_tensors_to_file()
target.close()

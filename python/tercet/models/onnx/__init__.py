"""Models that ONNX Runtime runs, on the CPU and without torch: ``pip install tercet[onnx]``.

A directory holds, as sentence-transformers and optimum write them:

=======================================  ================================================================
``onnx/model.onnx`` or ``model.onnx``    the transformer, to ``last_hidden_state`` or ``token_embeddings``
                                         (of a cross-encoder, to ``logits``), and its external data
``tokenizer.json``                       the tokenizer; ``tokenizer_config.json`` changes it as it does for
                                         transformers 5 (lower case, the side that is cut, token types),
                                         and with ``config.json`` limits how many tokens it gives
``sentence_bert_config.json``            ``max_seq_length``; lengths and query expansion of late interaction
``config_sentence_transformers.json``    prompts, or markers of queries and documents; ``truncate_dim``
``modules.json``                         what follows the transformer: ``Pooling``, ``Normalize``, ``Dense``
                                         (``model.safetensors``), ``MultiVectorMask``; without it the mean
=======================================  ================================================================

Without ``modules.json`` the two files above it are not read, as by sentence-transformers. Anything else that
would change the vectors is refused. So are late-interaction checkpoints in the layouts of PyLate and
Stanford-NLP: ``ColBERT(name, backend="torch").model.save_pretrained(directory)`` writes them in the one
above.

Vectors equal torch's to about 1e-6, and an index that one backend made opens with the other: its record says
what the model made of a fixed text (``probe``), which must agree to 3 thousandths. A quantized export
(``file="onnx/model_qint8.onnx"``) gives other vectors (8 bits: 3 hundredths), and is another model.
"""

from tercet.models.onnx.model import OnnxModel

__all__ = ["OnnxModel"]

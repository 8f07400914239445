// The sources of the CUDA library as they are, compiled for the emulator.
#include "emulator.h"

#include "cuda/abi.cu"
#include "cuda/bind.cu"
#include "cuda/bins.cu"
#include "cuda/maxsim.cu"
#include "cuda/place.cu"
#include "cuda/search_documents.cu"
#include "cuda/search_vectors.cu"
#include "cuda/select.cu"

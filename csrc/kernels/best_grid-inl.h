// How grids compare, for fit_grid. Included inside an anonymous namespace.

// The grid whose codes point closest to x of those it was offered, the first of equals.
struct BestGrid {
  explicit BestGrid(uint32_t padding) : padding(static_cast<float>(padding)) {}

  // products and squares: of <x, codes> and <codes, codes>, a lane each. The code of a zero stands for 1, so
  // padding adds 1 to a square.
  void offer(float inverse_step, const float* products, const float* squares) {
    float product = 0, square = -padding;
    for (uint32_t l = 0; l < kGridLanes; ++l) {
      product += products[l];
      square += squares[l];
    }
    if (product > 0 && product * product > most * square) {
      most = product * product / square;
      fit = {inverse_step, product};
    }
  }

  GridFit fit{0, 0};

 private:
  float padding, most = -1;  // squared cosine times |x|^2
};

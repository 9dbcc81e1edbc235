"""Functions in C that the headers of `to_c` consist of; NAME is the prefix of a policy."""

# In the order in which they are written; a policy contains only those that it needs.
HELPERS = {
    "normalize": """\
static inline void NAME_normalize(float *x, int n, const float *mean, const float *scale)
{
    for (int i = 0; i < n; ++i) {
        float v = (x[i] - mean[i]) * scale[i];
        x[i] = v < -10.0f ? -10.0f : v > 10.0f ? 10.0f : v;
    }
}
""",
    "dense": """\
static inline void NAME_dense(const float *x, int n, const float *kernel, const float *bias, float *y, int m)
{
    for (int j = 0; j < m; ++j) y[j] = bias[j];
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < m; ++j) y[j] += x[i] * kernel[i * m + j];
}
""",
    "conv": """\
static inline void NAME_conv(const float *x, int h, int w, int c, int f,
                             const float *kernel, const float *bias, float *y)
{
    for (int r = 0; r < h - 2; ++r)
        for (int s = 0; s < w - 2; ++s) {
            float *out = y + (r * (w - 2) + s) * f;
            for (int j = 0; j < f; ++j) out[j] = bias[j];
            for (int i = 0; i < 9 * c; ++i) {
                const float v = x[((r + i / (3 * c)) * w + s) * c + i % (3 * c)];
                for (int j = 0; j < f; ++j) out[j] += v * kernel[i * f + j];
            }
        }
}
""",
    "gru": """\
static inline void NAME_gru(const float *of_input, const float *of_memory, const float *bias,
                            float *memory, int m)
{
    for (int i = 0; i < m; ++i) {
        const float r = 1.0f / (1.0f + expf(-of_input[i] - of_memory[i]));
        const float z = 1.0f / (1.0f + expf(-of_input[m + i] - of_memory[m + i]));
        const float n = tanhf(of_input[2 * m + i] + r * (of_memory[2 * m + i] + bias[i]));
        memory[i] = (1.0f - z) * n + z * memory[i];
    }
}
""",
    "expect": """\
static inline void NAME_expect(const float *x, int n, int k, const float *points, float *y)
{
    for (int j = 0; j < n; ++j, x += k) {
        float best = x[0], sum = 0.0f, mean = 0.0f;
        for (int i = 1; i < k; ++i) best = fmaxf(best, x[i]);
        for (int i = 0; i < k; ++i) {
            const float w = expf(x[i] - best);
            sum += w;
            mean += w * points[i];
        }
        y[j] = mean / sum;
    }
}
""",
    "dispatch": """\
static inline void NAME_dispatch(const float *x, int m, int d, const float *phi, int slots, float *shares,
                                 float *y)
{
    for (int t = 0; t < m; ++t)
        for (int s = 0; s < slots; ++s) {
            shares[t * slots + s] = 0.0f;
            for (int i = 0; i < d; ++i) shares[t * slots + s] += x[t * d + i] * phi[i * slots + s];
        }
    for (int s = 0; s < slots; ++s) {
        float best = shares[s], sum = 0.0f;
        for (int t = 1; t < m; ++t) best = fmaxf(best, shares[t * slots + s]);
        for (int i = 0; i < d; ++i) y[s * d + i] = 0.0f;
        for (int t = 0; t < m; ++t) {
            const float w = expf(shares[t * slots + s] - best);
            sum += w;
            for (int i = 0; i < d; ++i) y[s * d + i] += w * x[t * d + i];
        }
        for (int i = 0; i < d; ++i) y[s * d + i] /= sum;
    }
    for (float *p = shares; p < shares + m * slots; p += slots) {
        float best = p[0], sum = 0.0f;
        for (int s = 1; s < slots; ++s) best = fmaxf(best, p[s]);
        for (int s = 0; s < slots; ++s) sum += p[s] = expf(p[s] - best);
        for (int s = 0; s < slots; ++s) p[s] /= sum;
    }
}
""",
    "experts": """\
static inline void NAME_experts(const float *x, int experts, int slots, int d, const float *kernel,
                                const float *bias, float *y, int f)
{
    for (int r = 0; r < experts * slots; ++r) {
        const float *w = kernel + r / slots * d * f, *b = bias + r / slots * f;
        for (int j = 0; j < f; ++j) y[r * f + j] = b[j];
        for (int i = 0; i < d; ++i)
            for (int j = 0; j < f; ++j) y[r * f + j] += x[r * d + i] * w[i * f + j];
    }
}
""",
    "combine": """\
static inline void NAME_combine(const float *x, int slots, int d, const float *shares, float *y, int m)
{
    for (int t = 0; t < m; ++t) {
        for (int i = 0; i < d; ++i) y[t * d + i] = 0.0f;
        for (int s = 0; s < slots; ++s)
            for (int i = 0; i < d; ++i) y[t * d + i] += shares[t * slots + s] * x[s * d + i];
    }
}
""",
    "layer_norm": """\
static inline void NAME_layer_norm(float *x, int n, int f, const float *scale, const float *bias)
{
    for (float *p = x; p < x + n; p += f) {
        float mean = 0.0f, var = 0.0f;
        for (int i = 0; i < f; ++i) mean += p[i] / (float)f;
        for (int i = 0; i < f; ++i) var += (p[i] - mean) * (p[i] - mean) / (float)f;
        for (int i = 0; i < f; ++i) p[i] = (p[i] - mean) / sqrtf(var + 1e-6f) * scale[i] + bias[i];
    }
}
""",
    "tanh": """\
static inline void NAME_tanh(float *x, int n)
{
    for (int i = 0; i < n; ++i) x[i] = tanhf(x[i]);
}
""",
    "relu": """\
static inline void NAME_relu(float *x, int n)
{
    for (int i = 0; i < n; ++i) x[i] = x[i] > 0.0f ? x[i] : 0.0f;
}
""",
    "silu": """\
static inline void NAME_silu(float *x, int n)
{
    for (int i = 0; i < n; ++i) x[i] = x[i] / (1.0f + expf(-x[i]));
}
""",
    "gelu": """\
static inline void NAME_gelu(float *x, int n)
{
    for (int i = 0; i < n; ++i)
        x[i] = 0.5f * x[i] * (1.0f + tanhf(0.797884561f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
}
""",
    "elu": """\
static inline void NAME_elu(float *x, int n)
{
    for (int i = 0; i < n; ++i) x[i] = x[i] > 0.0f ? x[i] : expm1f(x[i]);
}
""",
    "argmax": """\
static inline int32_t NAME_argmax(const float *x, int n)
{
    int32_t best = 0;
    for (int i = 1; i < n; ++i)
        if (x[i] > x[best]) best = i;
    return best;
}
""",
    "cut": """\
static inline void NAME_cut(const float *x, int n, const float *low, const float *high, float *action)
{
    for (int i = 0; i < n; ++i) action[i] = x[i] < low[i] ? low[i] : x[i] > high[i] ? high[i] : x[i];
}
""",
    "squash": """\
static inline void NAME_squash(const float *x, int n, const float *low, const float *high, float *action)
{
    for (int i = 0; i < n; ++i) {
        const float v = low[i] + (high[i] - low[i]) * 0.5f * (tanhf(x[i]) + 1.0f);
        action[i] = v < low[i] ? low[i] : v > high[i] ? high[i] : v;
    }
}
""",
}

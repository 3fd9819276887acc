"""Elementary and normal functions whose bits are the same on every processor.

Every function is made of IEEE `+ - * /`, square roots, comparisons and shifts of the exponent bits, which all
machines round alike; the C library's `exp` and `log`, and numpy's vector forms of them, differ between builds in
the last bit. The scalar functions are meant to be called inside other compiled functions; `*_array` are their
vector forms. Stated errors are relative, u being 1.1e-16.
"""

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from alphapulse.compiling import jit
from alphapulse.typing import Float64Array1D

LOG_2_HIGH = 6.93147180369123816490e-01
LOG_2_LOW = 1.90821492927058770002e-10
SQRT_2 = 1.4142135623730951
INVERSE_SQRT_2_PI = 0.3989422804014327
INVERSE_SQRT_PI = 0.5641895835477563
LARGEST_EXP = 709.782712893384
SMALLEST_EXP = -745.1332191019412


@intrinsic  # type: ignore[untyped-decorator]
def _bits(typing_context: Any, x: Any) -> Any:
    """Reinterpret a float64 as int64."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.int64))

    return types.int64(types.float64), build


@intrinsic  # type: ignore[untyped-decorator]
def _from_bits(typing_context: Any, n: Any) -> Any:
    """Reinterpret an int64 as float64."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float64))

    return types.float64(types.int64), build


@jit
def exp(x: float) -> float:
    """Exponential, within 2 u (subnormal results: within one spacing)."""
    # Clipped, so that the shifts below stay in range for any input; NaN passes through.
    z = LARGEST_EXP if x > LARGEST_EXP else (SMALLEST_EXP if x < SMALLEST_EXP else x)
    # Adding 1.5 * 2**52 rounds to a whole number and leaves it in the low bits: no conversion, so it vectorises.
    shifted = z * 1.4426950408889634 + 6755399441055744.0
    n = _bits(shifted) - 0x4338000000000000
    k = shifted - 6755399441055744.0
    high = z - k * LOG_2_HIGH
    low = k * LOG_2_LOW
    r = high - low
    t = r * r
    # Minimax of r*(exp(r)+1)/(exp(r)-1), |r| <= ln(2)/2; fdlibm, e_exp.c.
    c = r - t * (
        1.66666666666666019037e-01
        + t
        * (
            -2.77777777770155933842e-03
            + t * (6.61375632143793436117e-05 + t * (-1.65339022054652515390e-06 + t * 4.13813679705723846039e-08))
        )
    )
    y = 1.0 - ((low - (r * c) / (2.0 - c)) - high)
    # In two factors: 2**n itself is out of range at both ends.
    half = n >> 1
    y = y * _from_bits((half + 1023) << 52) * _from_bits((n - half + 1023) << 52)
    y = np.inf if x > LARGEST_EXP else y
    return 0.0 if x < SMALLEST_EXP else y


@jit
def log(x: float) -> float:
    """Natural logarithm, within 2 u; -inf at 0, NaN below."""
    tiny = x < 2.2250738585072014e-308
    z = x * 18014398509481984.0 if tiny else x
    bits = _bits(z)
    # Mantissa in [sqrt(1/2), sqrt(2)): the constant is the distance of sqrt(1/2)'s bits from those of 1.
    bits += 0x3FF0000000000000 - 0x3FE6A09E667F3BCD
    k = np.float64((bits >> 52) - 1023 - (54 if tiny else 0))
    m = _from_bits((bits & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD)
    f = m - 1.0
    s = f / (2.0 + f)
    w = s * s
    v = w * w
    # Minimax of (log(1+s)-log(1-s)-2s)/s; fdlibm, e_log.c.
    even = v * (3.999999999940941908e-01 + v * (2.222219843214978396e-01 + v * 1.531383769920937332e-01))
    odd = w * (
        6.666666666666735130e-01
        + v * (2.857142874366239149e-01 + v * (1.818357216161805012e-01 + v * 1.479819860511658591e-01))
    )
    half = 0.5 * f * f
    y = k * LOG_2_HIGH - ((half - (s * (half + (even + odd)) + k * LOG_2_LOW)) - f)
    y = np.inf if x == np.inf else y
    y = -np.inf if x == 0.0 else y
    return y if x >= 0.0 else np.nan


@jit
def log1p(x: float) -> float:
    """log(1 + x), within 5 u near 0 too; -inf at -1, NaN below."""
    u = 1.0 + x
    if u == 1.0 or x == np.inf:
        return x
    # The rounding of 1 + x cancels in the quotient (Kahan).
    return log(u) * (x / (u - 1.0))


@jit
def power(x: float, y: float) -> float:
    """Raise x to the power y; whole powers of negative numbers are defined, others NaN.

    Whole powers up to 64 are products, within |y| u; others within (2 + 2*|y*log(x)|) u.
    """
    if y == 0.0 or x == 1.0:
        return 1.0
    if np.floor(y) == y and abs(y) <= 64.0:
        product, square, rest = 1.0, x, np.int64(abs(y))
        while rest > 0:
            if rest & 1:
                product *= square
            square *= square
            rest >>= 1
        return product if y > 0.0 else 1.0 / product
    if x != x or y != y:
        return np.nan
    whole = np.floor(y) == y
    odd = whole and abs(y) < 9007199254740992.0 and np.floor(y * 0.5) * 2.0 != y
    if x == 0.0:
        return 0.0 if y > 0.0 else np.inf
    if x < 0.0 and not whole:
        return np.nan
    size = exp(y * log(abs(x)))
    return -size if x < 0.0 and odd else size


@jit
def _erf_small(x: float) -> float:
    """Error function for |x| <= 0.46875 (Cody, Rational Chebyshev approximations for the error function, 1969)."""
    t = x * x
    top = ((((1.85777706184603153e-1 * t + 3.16112374387056560e00) * t + 1.13864154151050156e02) * t
            + 3.77485237685302021e02) * t + 3.20937758913846947e03)  # fmt: skip
    bottom = ((((t + 2.36012909523441209e01) * t + 2.44024637934444173e02) * t
               + 1.28261652607737228e03) * t + 2.84423683343917062e03)  # fmt: skip
    return x * top / bottom


@jit
def _erfc_scaled(y: float) -> float:
    """exp(y*y) * erfc(y) for y >= 0.46875 (Cody 1969)."""
    if y <= 4.0:
        top = 2.15311535474403846e-8 * y + 5.64188496988670089e-1
        top = (top * y + 8.88314979438837594e00) * y + 6.61191906371416295e01
        top = (top * y + 2.98635138197400131e02) * y + 8.81952221241769090e02
        top = (top * y + 1.71204761263407058e03) * y + 2.05107837782607147e03
        top = top * y + 1.23033935479799725e03
        bottom = (y + 1.57449261107098347e01) * y + 1.17693950891312499e02
        bottom = (bottom * y + 5.37181101862009858e02) * y + 1.62138957456669019e03
        bottom = (bottom * y + 3.29079923573345963e03) * y + 4.36261909014324716e03
        bottom = (bottom * y + 3.43936767414372164e03) * y + 1.23033935480374942e03
        return top / bottom
    t = 1.0 / (y * y)
    top = (1.63153871373020978e-2 * t + 3.05326634961232344e-1) * t + 3.60344899949804439e-1
    top = ((top * t + 1.25781726111229246e-1) * t + 1.60837851487422766e-2) * t + 6.58749161529837803e-4
    bottom = ((t + 2.56852019228982242e00) * t + 1.87295284992346725e00) * t + 5.27905102951428412e-1
    bottom = (bottom * t + 6.05183413124413191e-2) * t + 2.33520497626869185e-3
    return (INVERSE_SQRT_PI - t * top / bottom) / y


@jit
def normal_pdf(x: float) -> float:
    """Density of the standard normal, within 10 u."""
    y = abs(x)
    coarse = np.floor(y * 16.0) / 16.0
    rest = (y - coarse) * (y + coarse)
    return 0.0 if y > 39.0 else INVERSE_SQRT_2_PI * (exp(-0.5 * coarse * coarse) * exp(-0.5 * rest))


@jit
def normal_cdf(x: float) -> float:
    """Distribution function of the standard normal; within 1e-14, in the far lower tail 1e-13."""
    y = abs(x) / SQRT_2
    if y <= 0.46875:
        return 0.5 + 0.5 * _erf_small(x / SQRT_2)
    if x > 0.0:
        return 1.0 if x > 9.0 else 1.0 - normal_pdf(x) * _mills(x)
    return 0.0 if x < -38.6 else (normal_pdf(x) * _mills(-x) if x <= 0.0 else np.nan)


@jit
def _mills(x: float) -> float:
    """Upper tail over density, (1 - cdf(x))/pdf(x), for x >= 0.67."""
    return 1.2533141373155003 * _erfc_scaled(x / SQRT_2)


@jit
def normal_quantile(p: float) -> float:
    """Inverse of `normal_cdf`, within 1e-15 [1]_; -inf at 0, inf at 1, NaN outside.

    References
    ----------
    .. [1] Wichura, Algorithm AS 241, Applied Statistics 37, 1988 (PPND16).
    """
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = 2.5090809287301226727e3 * r + 3.3430575583588128105e4
        top = (top * r + 6.7265770927008700853e4) * r + 4.5921953931549871457e4
        top = (top * r + 1.3731693765509461125e4) * r + 1.9715909503065514427e3
        top = (top * r + 1.3314166789178437745e2) * r + 3.3871328727963666080e0
        bottom = 5.2264952788528545610e3 * r + 2.8729085735721942674e4
        bottom = (bottom * r + 3.9307895800092710610e4) * r + 2.1213794301586595867e4
        bottom = (bottom * r + 5.3941960214247511077e3) * r + 6.8718700749205790830e2
        bottom = (bottom * r + 4.2313330701600911252e1) * r + 1.0
        return q * top / bottom
    tail = p if q < 0.0 else 1.0 - p
    if not tail > 0.0:
        return np.nan if tail != 0.0 else (-np.inf if q < 0.0 else np.inf)
    size = _quantile_of_log_tail(log(tail))
    return -size if q < 0.0 else size


@jit
def _quantile_of_log_tail(log_tail: float) -> float:
    """Return x > 0 with log(1 - cdf(x)) = log_tail <= log(0.075), down to log_tail of about -700 (AS 241)."""
    r: float = np.sqrt(-log_tail)
    if r <= 5.0:
        r -= 1.6
        top = 7.74545014278341407640e-4 * r + 2.27238449892691845833e-2
        top = (top * r + 2.41780725177450611770e-1) * r + 1.27045825245236838258e0
        top = (top * r + 3.64784832476320460504e0) * r + 5.76949722146069140550e0
        top = (top * r + 4.63033784615654529590e0) * r + 1.42343711074968357734e0
        bottom = 1.05075007164441684324e-9 * r + 5.47593808499534494600e-4
        bottom = (bottom * r + 1.51986665636164571966e-2) * r + 1.48103976427480074590e-1
        bottom = (bottom * r + 6.89767334985100004550e-1) * r + 1.67638483018380384940e0
        bottom = (bottom * r + 2.05319162663775882187e0) * r + 1.0
        return top / bottom
    r -= 5.0
    top = 2.01033439929228813265e-7 * r + 2.71155556874348757815e-5
    top = (top * r + 1.24266094738807843860e-3) * r + 2.65321895265761230930e-2
    top = (top * r + 2.96560571828504891230e-1) * r + 1.78482653991729133580e0
    top = (top * r + 5.46378491116411436990e0) * r + 6.65790464350110377720e0
    bottom = 2.04426310338993978564e-15 * r + 1.42151175831644588870e-7
    bottom = (bottom * r + 1.84631831751005468180e-5) * r + 7.86869131145613259100e-4
    bottom = (bottom * r + 1.48753612908506148525e-2) * r + 1.36929880922735805310e-1
    bottom = (bottom * r + 5.99832206555887937690e-1) * r + 1.0
    return top / bottom


@jit
def exp_array(x: Float64Array1D) -> Float64Array1D:
    """`exp` of each of x (n,)."""
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = exp(x[i])
    return out


@jit
def log_array(x: Float64Array1D) -> Float64Array1D:
    """`log` of each of x (n,)."""
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = log(x[i])
    return out


@jit
def power_array(x: Float64Array1D, y: Float64Array1D) -> Float64Array1D:
    """`power` of each of x (n,) and y (n,)."""
    out = np.empty(x.size)
    for i in range(x.size):
        out[i] = power(x[i], y[i])
    return out

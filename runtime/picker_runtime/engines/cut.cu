/* Cuts cubes out of a volume on the device and converts them to float32.

   A volume lies as its file stores it, in a ring of planes: plane z at position z % ring. A ring as long as the volume
   holds all of it. Outside the volume a cube holds its reflection without the edge voxel; what is not finite becomes
   the filler. One thread a voxel: x along the block, z and the cube along the grid's third axis.

   The layout of Order is that of ORDER in cutting.py. No header is included: NVRTC needs none, and a plain C compiler
   can check the arithmetic. */

typedef struct {
    unsigned long long volume; /* address of the ring */
    int ring;                  /* planes of the ring */
    int shape[3];              /* of the volume, zyx */
    int start[3];              /* of the cube in the volume, zyx; may be outside */
    int kind;                  /* 0 int8, 1 uint8, 2 int16, 3 uint16, 4 float16, 5 float32 */
    int swapped;               /* whether bytes come highest first */
    float filler;              /* in place of what is not finite */
    int used;                  /* 0: no cube; zeros are written */
    int finite;                /* out: whether a voxel inside the volume is finite */
} Order;

__device__ static int reflected(int index, int length) {
    int period = 2 * (length - 1);
    int wave = index % period;
    wave = wave < 0 ? wave + period : wave;
    return wave < period - wave ? wave : period - wave;
}

__device__ static float from_bits(unsigned bits) {
    union { unsigned bits; float value; } both;
    both.bits = bits;
    return both.value;
}

__device__ static unsigned to_bits(float value) {
    union { unsigned bits; float value; } both;
    both.value = value;
    return both.bits;
}

__device__ static float half_to_float(unsigned half) {
    unsigned sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31u, fraction = half & 0x3ffu;
    if (exponent == 31u) return from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent == 0u) return (sign ? -1.0f : 1.0f) * (float)fraction * (1.0f / 16777216.0f);
    return from_bits(sign | (exponent + 112u) << 23 | fraction << 13);
}

__device__ static float sample(const unsigned char *bytes, long long index, int kind, int swapped) {
    if (kind == 0) return (float)(signed char)bytes[index];
    if (kind == 1) return (float)bytes[index];
    if (kind < 5) {
        unsigned short word = ((const unsigned short *)bytes)[index];
        if (swapped) word = (unsigned short)(word << 8 | word >> 8);
        return kind == 2 ? (float)(short)word : kind == 3 ? (float)word : half_to_float(word);
    }
    unsigned word = ((const unsigned *)bytes)[index];
    if (swapped) word = word << 24 | (word << 8 & 0xff0000u) | (word >> 8 & 0xff00u) | word >> 24;
    return from_bits(word);
}

#ifdef __cplusplus
extern "C"
#endif
__global__ void cut(Order *orders, float *cubes, int depth, int height, int width) {
    int x = blockIdx.x * blockDim.x + threadIdx.x;
    int y = blockIdx.y * blockDim.y + threadIdx.y;
    int z = blockIdx.z % depth;
    int cube = blockIdx.z / depth;
    if (x >= width || y >= height) return;
    Order *order = orders + cube;
    float *voxel = cubes + (((long long)cube * depth + z) * height + y) * width + x;
    if (!order->used) {
        *voxel = 0.0f;
        return;
    }
    int at[3] = {order->start[0] + z, order->start[1] + y, order->start[2] + x};
    int from[3], inside = 1;
    for (int axis = 0; axis < 3; axis++) {
        inside = inside && 0 <= at[axis] && at[axis] < order->shape[axis];
        from[axis] = reflected(at[axis], order->shape[axis]);
    }
    long long row = (long long)(from[0] % order->ring) * order->shape[1] + from[1];
    const unsigned char *bytes = (const unsigned char *)order->volume;
    float value = sample(bytes, row * order->shape[2] + from[2], order->kind, order->swapped);
    int finite = (to_bits(value) & 0x7f800000u) != 0x7f800000u;
    if (finite && inside && !order->finite) order->finite = 1; /* all threads that write, write the same */
    *voxel = finite ? value : order->filler;
}

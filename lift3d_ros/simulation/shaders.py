"""The programs of the graphics pipeline: surfaces, sun shadow, sky and contact shadow (GLSL 3.30).

Colours are computed in linear light and written as sRGB. Noise comes from integer hashes of world coordinates, so
that a scene looks the same in every run and from every camera.
"""

_COMMON = """
#version 330
uniform vec3 sun;            // unit vector towards the sun
uniform vec3 sun_color;
uniform vec3 zenith;
uniform vec3 horizon;

float hash(ivec3 c) {
    uint h = uint(c.x) * 0x8da6b343u + uint(c.y) * 0xd8163841u + uint(c.z) * 0xcb1ab31fu;
    h = (h ^ (h >> 15)) * 0x2c1b3c6du;
    h = (h ^ (h >> 12)) * 0x297a2d39u;
    return float((h ^ (h >> 15)) >> 8) / 16777216.0;
}
float noise2(vec2 p) {
    ivec2 i = ivec2(floor(p));
    vec2 f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    float low = mix(hash(ivec3(i, 7)), hash(ivec3(i + ivec2(1, 0), 7)), f.x);
    float high = mix(hash(ivec3(i + ivec2(0, 1), 7)), hash(ivec3(i + ivec2(1, 1), 7)), f.x);
    return mix(low, high, f.y);
}
float noise3(vec3 p) {
    ivec3 i = ivec3(floor(p));
    vec3 f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    float v[8];
    for (int k = 0; k < 8; k++) v[k] = hash(i + ivec3(k & 1, (k >> 1) & 1, k >> 2));
    vec4 x = mix(vec4(v[0], v[2], v[4], v[6]), vec4(v[1], v[3], v[5], v[7]), f.x);
    vec2 y = mix(x.xz, x.yw, f.y);
    return mix(y.x, y.y, f.z);
}
vec3 clear_sky(vec3 direction) {
    float up = max(direction.z, 0.0);
    vec3 color = mix(horizon, zenith, 1.0 - pow(1.0 - up, 3.2));
    float toward = max(dot(direction, sun), 0.0);
    return color + sun_color * (0.05 * pow(toward, 6.0) + 0.14 * pow(toward, 60.0));
}
vec3 to_display(vec3 linear) {
    vec3 mapped = linear * (1.0 + linear * 0.14) / (1.0 + linear * 0.42);
    return pow(clamp(mapped * 1.16, 0.0, 1.0), vec3(1.0 / 2.2));
}
"""

SURFACE_VERTEX = """
#version 330
uniform mat4 projection_view;
uniform mat4 model;
in vec3 in_position;
in vec3 in_normal;
in vec4 in_color;
out vec3 world;
out vec3 normal;
out vec3 albedo;
flat out int material;
void main() {
    vec4 at = model * vec4(in_position, 1.0);
    world = at.xyz;
    normal = mat3(model) * in_normal;
    albedo = pow(in_color.rgb, vec3(2.2));
    material = int(in_color.a * 255.0 + 0.5);
    gl_Position = projection_view * at;
}
"""

SURFACE_FRAGMENT = (
    _COMMON
    + """
uniform vec3 eye;
uniform vec3 axis;           // optical axis of the camera
uniform int instance;
uniform float fog;           // 1/m
uniform mat4 shadow_view;
uniform sampler2DShadow shadow_map;
in vec3 world;
in vec3 normal;
in vec3 albedo;
flat in int material;
layout(location = 0) out vec4 out_color;
layout(location = 1) out int out_instance;
layout(location = 2) out float out_depth;

float sunlight(vec3 n) {
    // The offset grows where the sun grazes the surface: there one texel of the map spans more depth.
    vec4 at = shadow_view * vec4(world + n * mix(0.10, 0.03, clamp(dot(n, sun), 0.0, 1.0)), 1.0);
    vec3 c = at.xyz * 0.5 + 0.5;
    float edge = max(abs(at.x), abs(at.y));
    if (edge > 0.99 || c.z > 1.0) return 1.0;
    float lit = 0.0, texel = 1.25 / float(textureSize(shadow_map, 0).x);
    for (int i = -1; i <= 1; i++)
        for (int j = -1; j <= 1; j++)
            lit += texture(shadow_map, vec3(c.xy + vec2(i, j) * texel, c.z - 0.0006));
    return mix(lit / 9.0, 1.0, smoothstep(0.9, 0.99, edge));
}

// Distance in pixels per metre fades fine patterns before they alias.
float visible(float period, float footprint) { return clamp(period / (2.0 * footprint) - 0.5, 0.0, 1.0); }

vec3 textured(vec3 base, vec3 n, float footprint) {
    vec2 p = world.xy;
    if (material == 4) {
        float fine = (noise2(p * 38.0) - 0.5) * visible(0.05, footprint);
        float worn = noise2(p * 0.55) * 0.6 + noise2(p * 2.3) * 0.4 - 0.5;
        return base * (1.0 + 0.24 * fine + 0.20 * worn);
    }
    if (material == 5) {
        vec2 slab = p / 0.6;
        slab.x += 0.5 * mod(floor(slab.y), 2.0);
        vec2 gap = abs(fract(slab) - 0.5) * 2.0;
        float joint = smoothstep(0.93, 0.985, max(gap.x, gap.y)) * visible(0.12, footprint);
        float tone = hash(ivec3(floor(slab), 3)) - 0.5;
        return base * (1.0 + 0.11 * tone + 0.14 * (noise2(p * 1.1) - 0.5)) * (1.0 - 0.36 * joint);
    }
    if (material == 6) {
        float blades = (noise2(p * 14.0) - 0.5) * visible(0.14, footprint);
        return base * (1.0 + 0.5 * blades + 0.4 * (noise2(p * 0.7) - 0.5));
    }
    if (material == 7) {
        float clumps = noise3(world * 2.1) - 0.5;
        float leaves = (noise3(world * 7.5) - 0.5) * visible(0.26, footprint);
        return base * (1.0 + 0.75 * clumps + 0.95 * leaves);
    }
    if (material == 8) {
        float stain = noise3(world * vec3(0.8, 0.8, 0.35)) - 0.5;
        return base * (1.0 + 0.14 * stain + 0.06 * (noise3(world * 6.0) - 0.5));
    }
    if (material == 9) {
        float along = abs(n.z) > 0.7 ? p.x : dot(p, normalize(vec2(-n.y, n.x)));
        float height = abs(n.z) > 0.9 ? p.y : world.z;
        vec2 brick = vec2(along / 0.25, height / 0.085);
        brick.x += 0.5 * mod(floor(brick.y), 2.0);
        vec2 gap = abs(fract(brick) - 0.5) * 2.0;
        float near = visible(0.085, footprint);
        float joint = max(smoothstep(0.90, 0.96, gap.x), smoothstep(0.74, 0.86, gap.y)) * near;
        float tone = (hash(ivec3(floor(brick), 5)) - 0.5) * near;
        base *= 1.0 + 0.28 * tone + 0.16 * (noise2(vec2(along, height) * 0.9) - 0.5);
        return mix(base, vec3(0.42, 0.39, 0.35), 0.55 * joint);
    }
    return base;
}

// What a smooth surface mirrors: the sky above a made-up row of houses, and the road below.
vec3 surroundings(vec3 direction) {
    float turn = atan(direction.y, direction.x);
    float roof = 0.14 + 0.30 * noise2(vec2(turn * 4.0 + 20.0, 3.0));
    float tone = noise2(vec2(turn * 9.0 + 40.0, direction.z * 9.0));
    vec3 wall = mix(vec3(0.13, 0.125, 0.12), vec3(0.40, 0.35, 0.30), tone);
    vec3 above = mix(wall, clear_sky(direction), smoothstep(roof - 0.03, roof + 0.03, direction.z));
    return mix(vec3(0.11), above, smoothstep(-0.10, 0.03, direction.z));
}

void main() {
    vec3 offset = world - eye;
    float away = length(offset);
    vec3 view = -offset / away;
    vec3 face = normalize(cross(dFdx(world), dFdy(world)));
    face = dot(face, view) < 0.0 ? -face : face;
    vec3 n = normalize(normal);
    n = dot(n, face) < 0.0 ? -n : n;
    float footprint = max(length(dFdx(world)), length(dFdy(world)));

    vec3 base = textured(albedo, n, footprint);
    if (material == 7) {
        vec3 q = world * 3.3;
        n = normalize(n + 1.1 * (vec3(noise3(q), noise3(q + 17.0), noise3(q + 31.0)) - 0.5));
    }
    float facing = dot(n, sun);
    float lit = facing > 0.0 ? sunlight(n) : 0.0;
    float direct = max(facing, 0.0) * lit;
    if (material == 7) direct = mix(direct, 0.45 * lit + 0.12, 0.45);
    vec3 ambient = mix(vec3(0.24, 0.23, 0.21), vec3(0.50, 0.57, 0.68), n.z * 0.5 + 0.5);
    // Little sky reaches the foot of walls and the undersides of things.
    ambient *= mix(0.62, 1.0, smoothstep(0.0, 1.1, world.z + 1.1 * max(n.z, 0.0)));
    vec3 color = base * (ambient + sun_color * direct);

    float edge_on = pow(1.0 - max(dot(n, view), 0.0), 5.0);
    vec3 bounce = reflect(-view, n);
    float glint = max(dot(bounce, sun), 0.0);
    if (material == 1) {
        color = mix(color, surroundings(bounce), 0.05 + 0.55 * edge_on);
        color += sun_color * lit * (0.45 * pow(glint, 90.0) + 0.06 * pow(glint, 12.0));
    } else if (material == 2) {
        color = mix(color * 0.5, surroundings(bounce), 0.36 + 0.60 * edge_on);
        color += sun_color * lit * 0.8 * pow(glint, 160.0);
    } else if (material == 3) {
        color = base * (0.55 + ambient + 0.5 * direct) + 0.08 * surroundings(bounce);
    } else if (material == 10) {
        color = mix(color, surroundings(bounce), 0.18 + 0.4 * edge_on) + sun_color * lit * 0.25 * pow(glint, 30.0);
    } else if (material == 4) {
        color += sun_color * lit * 0.05 * pow(glint, 8.0);
    }
    color = mix(horizon, color, exp(-fog * away));
    out_color = vec4(to_display(color), 1.0);
    out_instance = instance;
    out_depth = dot(offset, axis);
}
"""
)

SHADOW_VERTEX = """
#version 330
uniform mat4 projection_view;
uniform mat4 model;
in vec3 in_position;
void main() {
    vec4 at = model * vec4(in_position, 1.0);
    gl_Position = projection_view * at;
}
"""

SHADOW_FRAGMENT = """
#version 330
void main() {}
"""

SKY_VERTEX = """
#version 330
uniform mat4 inverse_projection_view;
uniform vec3 eye;
out vec3 direction;
void main() {
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    vec4 far = inverse_projection_view * vec4(corner, 1.0, 1.0);
    direction = far.xyz / far.w - eye;
    gl_Position = vec4(corner, 1.0, 1.0);
}
"""

SKY_FRAGMENT = (
    _COMMON
    + """
uniform float clouds;        // 0 none .. 1 closed
in vec3 direction;
layout(location = 0) out vec4 out_color;
layout(location = 1) out int out_instance;
layout(location = 2) out float out_depth;
void main() {
    vec3 d = normalize(direction);
    vec3 color = clear_sky(d);
    if (d.z > 0.01) {
        vec2 p = d.xy / (d.z + 0.12) * 1.5;
        float density = 0.0, weight = 0.5;
        for (int octave = 0; octave < 5; octave++) {
            density += weight * noise2(p + 11.0);
            p = p * 2.07 + vec2(3.1, 1.7);
            weight *= 0.5;
        }
        float cover = smoothstep(0.62 - 0.40 * clouds, 0.86 - 0.34 * clouds, density) * smoothstep(0.01, 0.20, d.z);
        vec3 cloud = mix(vec3(0.98), vec3(0.70, 0.73, 0.78), smoothstep(0.45, 0.85, density)) + 0.12 * sun_color;
        color = mix(color, cloud, 0.85 * cover);
    }
    color += sun_color * 1.5 * smoothstep(0.9994, 0.9998, dot(d, sun));
    out_color = vec4(to_display(color), 1.0);
    out_instance = -1;
    out_depth = 1e30;
}
"""
)

CONTACT_VERTEX = """
#version 330
uniform mat4 projection_view;
uniform mat4 model;          // unit square to the ground below an object
uniform vec2 half_size;      // of the object, metres
uniform float reach;         // how far the dark zone extends, metres
out vec2 place;
void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
    place = corner * (half_size + reach);
    gl_Position = projection_view * model * vec4(place, 0.0, 1.0);
}
"""

CONTACT_FRAGMENT = """
#version 330
uniform vec2 half_size;
uniform float reach;
uniform float strength;
in vec2 place;
out vec4 out_color;
void main() {
    vec2 inside = half_size - abs(place);
    float border = length(min(inside, 0.0));
    float below = smoothstep(0.0, 0.35, min(inside.x, inside.y));
    float dark = (1.0 - smoothstep(0.0, reach, border)) * (0.55 + 0.45 * below);
    out_color = vec4(vec3(1.0 - strength * dark), 1.0);
}
"""

"""The programs beside those of surfaces (GLSL 3.30): truth, depth, sky, sprites, light maps and the mean of samples."""

from __future__ import annotations

from lift3d_ros.simulation.shaders import BLOCKS, HEAD, LAMP_HALF_M, MAX_MAPPED_LAMPS, NOISE, SKY_COLOR

TRUTH_VERTEX = """
#version 330
uniform mat4 to_clip;        // mesh to clip space
uniform vec4 to_depth;       // mesh to depth along the optical axis
layout(location = 0) in vec3 in_position;
out float along;
void main() {
    gl_Position = to_clip * vec4(in_position, 1.0);
    along = dot(to_depth, vec4(in_position, 1.0));
}
"""

TRUTH_FRAGMENT = """
#version 330
uniform int instance;
in float along;
layout(location = 0) out float out_depth;
layout(location = 1) out int out_instance;
void main() {
    out_depth = along;
    out_instance = instance;
}
"""

DEPTH_VERTEX = """
#version 330
uniform mat4 to_clip;
layout(location = 0) in vec3 in_position;
void main() { gl_Position = to_clip * vec4(in_position, 1.0); }
"""

DEPTH_FRAGMENT = """
#version 330
void main() {}
"""

SKY_VERTEX = (
    HEAD
    + BLOCKS
    + """
out vec3 direction;
void main() {
    vec2 corner = vec2(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0);
    vec4 far = inverse_projection_view * vec4(corner, 1.0, 1.0);
    direction = far.xyz / far.w - eye.xyz;
    gl_Position = vec4(corner, 1.0, 1.0);
}
"""
)

SKY_FRAGMENT = (
    HEAD
    + BLOCKS
    + NOISE
    + SKY_COLOR
    + """
in vec3 direction;
layout(location = 0) out vec4 out_color;
layout(location = 1) out int out_instance;
void main() {
    vec3 d = normalize(direction);
    vec3 color = clear_sky(d);
    float amount = zenith.w, cover = 0.0;
    if (d.z > 0.01) {
        vec2 p = d.xy / (d.z + 0.12) * 1.5;
        float density = 0.0, weight = 0.5;
        for (int octave = 0; octave < 5; octave++) {
            density += weight * plane_noise(p + 11.0);
            p = p * 2.07 + vec2(3.1, 1.7);
            weight *= 0.5;
        }
        cover = smoothstep(0.62 - 0.40 * amount, 0.86 - 0.34 * amount, density) * smoothstep(0.01, 0.20, d.z);
        vec3 shade = cloud.rgb * mix(vec3(1.0), vec3(0.71, 0.74, 0.79), smoothstep(0.45, 0.85, density));
        color = mix(color, shade + 0.12 * sun_color.rgb, 0.85 * cover);
    }
    color += sun_color.rgb * 30.0 * smoothstep(0.9994, 0.9998, dot(d, sun.xyz)) * (1.0 - cover);
    color = mix(fog_color.rgb, color, exp(-horizon.w * 12.0 / max(d.z, 0.02)));
    out_color = vec4(color, 1e30);
    out_instance = -1;
}
"""
)

CONTACT_VERTEX = (
    HEAD
    + BLOCKS
    + """
uniform float reach;         // how far the dark zone extends, metres
layout(location = 0) in mat4 model;          // one for each object, unit square to the ground below it
layout(location = 4) in vec2 in_half_size;   // of the object, metres
out vec2 place;
flat out vec2 half_size;
void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
    place = corner * (in_half_size + reach);
    half_size = in_half_size;
    gl_Position = projection_view * model * vec4(place, 0.0, 1.0);
}
"""
)

CONTACT_FRAGMENT = """
#version 330
uniform float reach;
uniform float strength;
in vec2 place;
flat in vec2 half_size;
out vec4 out_color;
void main() {
    vec2 inside = half_size - abs(place);
    float border = length(min(inside, 0.0));
    float below = smoothstep(0.0, 0.35, min(inside.x, inside.y));
    float dark = (1.0 - smoothstep(0.0, reach, border)) * (0.55 + 0.45 * below);
    out_color = vec4(vec3(1.0 - strength * dark), 1.0);
}
"""

GLARE_VERTEX = (
    HEAD
    + BLOCKS
    + """
layout(location = 0) in vec4 in_place;       // one for each lamp; w: radius, metres
layout(location = 1) in vec4 in_light;
out vec2 place;
flat out vec3 light;
void main() {
    vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1) * 2.0 - 1.0;
    vec4 at = projection_view * vec4(in_place.xyz, 1.0);
    // Small lamps far away are drawn larger and dimmer, so that they do not flicker.
    vec2 size = in_place.w * pixel.xy / max(at.w, 0.1);
    vec2 drawn = max(size, 0.9 * pixel.zw);
    light = in_light.rgb * min(size.x * size.y / (drawn.x * drawn.y) + 0.15, 1.0);
    light *= exp(-horizon.w * at.w * 0.6);
    place = corner;
    at.xy += corner * drawn * at.w;
    at.z -= 0.00005 * at.w;
    gl_Position = at;
}
"""
)

GLARE_FRAGMENT = """
#version 330
in vec2 place;
flat in vec3 light;
out vec4 out_color;
void main() {
    float inside = 1.0 - dot(place, place);
    out_color = vec4(light * smoothstep(0.0, 0.5, inside), 0.0);
}
"""

FILTER_VERTEX = """
#version 330
void main() {
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
"""

RESOLVE_FRAGMENT = """
#version 330
uniform sampler2D colors;
uniform isampler2D instances;
uniform int samples;         // in x and in y, for each pixel
layout(location = 0) out vec4 out_color;
layout(location = 1) out int out_instance;
void main() {
    ivec2 at = ivec2(gl_FragCoord.xy) * samples;
    vec4 first = texelFetch(colors, at, 0);
    vec3 sum = vec3(0.0);
    // Very bright samples would draw jagged edges however they are averaged.
    for (int i = 0; i < samples; i++)
        for (int j = 0; j < samples; j++)
            sum += min(texelFetch(colors, at + ivec2(i, j), 0).rgb, vec3(8.0));
    out_color = vec4(sum / float(samples * samples), first.a);
    out_instance = texelFetch(instances, at, 0).r;
}
"""

MIRRORED_FRAGMENT = (
    HEAD
    + BLOCKS
    + NOISE
    + SKY_COLOR
    + """
uniform float side;          // of the map, pixels
layout(location = 0) out vec4 out_color;
// What a smooth surface mirrors: the sky above a made-up row of houses, and the road below.
void main() {
    vec2 at = 2.0 * gl_FragCoord.xy / side - 1.0;
    vec3 d = vec3(at, 1.0 - abs(at.x) - abs(at.y));
    vec2 outer = (1.0 - abs(d.yx)) * vec2(d.x < 0.0 ? -1.0 : 1.0, d.y < 0.0 ? -1.0 : 1.0);
    d.xy = d.z < 0.0 ? outer : d.xy;
    d = normalize(d);
    float turn = atan(d.y, d.x + 1e-6);
    float roof = 0.14 + 0.30 * plane_noise(vec2(turn * 4.0 + 20.0, 3.0));
    float tone = plane_noise(vec2(turn * 9.0 + 40.0, d.z * 9.0));
    vec3 light = ambient_sky.rgb;
    vec3 wall = mix(vec3(0.24), vec3(0.74, 0.65, 0.56), tone) * light;
    vec3 sky = mix(clear_sky(d), cloud.rgb, 0.6 * zenith.w);
    vec3 above = mix(wall, sky, smoothstep(roof - 0.03, roof + 0.03, d.z));
    out_color = vec4(mix(0.2 * light, above, smoothstep(-0.10, 0.03, d.z)), 1.0);
}
"""
)

LAMPS_FRAGMENT = (
    HEAD
    + f"#define COUNT {MAX_MAPPED_LAMPS}\n#define LAMP_HALF {LAMP_HALF_M}\n"
    + """
uniform vec2 middle;
uniform float side;          // of the map, pixels
uniform int count;
uniform sampler2D lamps;     // three rows: place and focus, direction and whether there is one, colour
layout(location = 0) out vec4 out_ground;    // light on level ground
layout(location = 1) out vec4 out_low;       // light on what faces it, one metre above ground
layout(location = 2) out vec4 out_way;       // mean direction to the lamps from there
layout(location = 3) out vec4 out_high;      // as low, four metres above ground

vec3 light_at(vec3 at, vec4 place, vec4 beam, vec3 color, out vec3 way) {
    way = place.xyz - at;
    float square = dot(way, way);
    way *= inversesqrt(square + 1e-6);
    float cone = beam.w > 0.0 ? exp2(place.w * log2(max(dot(-way, beam.xyz), 0.001))) : 1.0;
    return min(color * cone / (square + 0.4), vec3(1.6));
}
void main() {
    vec2 at = middle + (2.0 * gl_FragCoord.xy / side - 1.0) * LAMP_HALF;
    vec3 ground = vec3(0.0), low = vec3(0.0), high = vec3(0.0), mean = vec3(0.0), way;
    float weight = 1e-4;
    for (int i = 0; i < count; i++) {
        vec4 place = texelFetch(lamps, ivec2(i, 0), 0), beam = texelFetch(lamps, ivec2(i, 1), 0);
        vec3 color = texelFetch(lamps, ivec2(i, 2), 0).rgb;
        vec3 here = light_at(vec3(at, 0.0), place, beam, color, way);
        ground += here * max(way.z, 0.0);
        here = light_at(vec3(at, 4.0), place, beam, color, way);
        high += here;
        here = light_at(vec3(at, 1.0), place, beam, color, way);
        low += here;
        mean += here.g * way;
        weight += here.g;
    }
    out_ground = vec4(ground, 1.0);
    out_low = vec4(low, 1.0);
    out_way = vec4(mean / weight, 1.0);
    out_high = vec4(high, 1.0);
}
"""
)

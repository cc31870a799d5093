"""The programs that shade surfaces, and what all programs share (GLSL 3.30).

Colours are linear light. Noise comes from integer hashes of world coordinates, so that a scene looks the same in
every run and from every camera. Surfaces are drawn by one program for each group of materials, as software renderers
compute all branches of a program for every pixel.
"""

from __future__ import annotations

from lift3d_ros.simulation.meshes import Material

MAX_LAMPS = 6
"""Lamps that wet ground mirrors in one picture."""
MAX_MAPPED_LAMPS = 96
"""Lamps whose light is mapped."""
LAMP_HALF_M = 64.0
"""The map of lamplight reaches this far from its middle along x and y."""

GROUPS: tuple[tuple[Material, ...], ...] = (
    (Material.MATTE, Material.LAMP),
    (Material.PLASTER, Material.BRICK),
    (Material.FOLIAGE,),
    (Material.GRASS,),
    (Material.PAVING,),
    (Material.ASPHALT,),
    (Material.PAINT, Material.GLASS, Material.METAL),
)
"""Materials that share a program."""

BLOCKS = f"""
#define MAX_LAMPS {MAX_LAMPS}
#define LAMP_HALF {LAMP_HALF_M}
layout(std140) uniform World {{
    vec4 sun;            // unit vector towards the sun
    vec4 sun_color;
    vec4 zenith;         // w: clouds, 0 none .. 1 closed
    vec4 horizon;        // w: fog, 1/m
    vec4 fog_color;      // w: wetness of the ground
    vec4 ambient_sky;    // w: strength of lamps
    vec4 ambient_ground; // w: share of lit windows
    vec4 cloud;
}};
layout(std140) uniform View {{
    mat4 projection_view;
    mat4 inverse_projection_view;
    mat4 shadow_view;
    vec4 eye;
    vec4 axis;           // optical axis of the camera; w: number of lamps
    vec4 lamp_middle;    // of the map of lamplight, x and y
    vec4 pixel;          // clip units per metre at one metre, in x and in y; clip units per pixel, in x and in y
    vec4 lamp_at[MAX_LAMPS];     // w: focus
    vec4 lamp_way[MAX_LAMPS];    // direction; w: 0 where it shines to all sides
    vec4 lamp_color[MAX_LAMPS];
}};
"""

NOISE = """
float hash(ivec3 c) {
    uint h = uint(c.x) * 0x8da6b343u + uint(c.y) * 0xd8163841u + uint(c.z) * 0xcb1ab31fu;
    h = (h ^ (h >> 15)) * 0x2c1b3c6du;
    h = (h ^ (h >> 12)) * 0x297a2d39u;
    return float((h ^ (h >> 15)) >> 8) / 16777216.0;
}
float plane_noise(vec2 p) {
    ivec2 i = ivec2(floor(p));
    vec2 f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    float low = mix(hash(ivec3(i, 7)), hash(ivec3(i + ivec2(1, 0), 7)), f.x);
    float high = mix(hash(ivec3(i + ivec2(0, 1), 7)), hash(ivec3(i + ivec2(1, 1), 7)), f.x);
    return mix(low, high, f.y);
}
float space_noise(vec3 p) {
    ivec3 i = ivec3(floor(p));
    vec3 f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    vec4 near = vec4(hash(i), hash(i + ivec3(0, 1, 0)), hash(i + ivec3(0, 0, 1)), hash(i + ivec3(0, 1, 1)));
    vec4 far = vec4(hash(i + ivec3(1, 0, 0)), hash(i + ivec3(1, 1, 0)),
                    hash(i + ivec3(1, 0, 1)), hash(i + ivec3(1, 1, 1)));
    vec4 x = mix(near, far, f.x);
    vec2 y = mix(x.xz, x.yw, f.y);
    return mix(y.x, y.y, f.z);
}
"""

SKY_COLOR = """
vec3 clear_sky(vec3 direction) {
    float up = clamp(direction.z, 0.0, 1.0);
    vec3 color = mix(horizon.rgb, zenith.rgb, 1.0 - pow(1.0 - up, 3.2));
    float toward = max(dot(direction, sun.xyz), 0.0);
    float wide = toward * toward * toward;
    return color + sun_color.rgb * (0.05 * wide * wide + 0.14 * pow(toward, 60.0));
}
"""

HEAD = "#version 330\n"

_SURFACE_VERTEX = (
    BLOCKS
    + """
uniform mat4 model;
layout(location = 0) in vec3 in_position;
layout(location = 1) in vec4 in_normal;
layout(location = 2) in vec4 in_color;
layout(location = 3) in vec2 in_uv;
out vec3 world;
out vec3 normal;
out vec3 albedo;
#if GROUP == 0 || GROUP == 6
out vec3 local;
#endif
#ifdef TEXTURE
out vec2 uv;
#endif
flat out int material;
void main() {
    vec4 at = model * vec4(in_position, 1.0);
    world = at.xyz;
    normal = mat3(model) * in_normal.xyz;
    albedo = in_color.rgb;
#if GROUP == 0 || GROUP == 6
    local = in_position;
#endif
#ifdef TEXTURE
    uv = in_uv;
#endif
    material = int(in_color.a + 0.5);
    gl_Position = projection_view * at;
}
"""
)

_SURFACE_INPUTS = """
uniform int instance;
uniform int layer;           // of the texture array
uniform vec3 moved;          // from here to where the mesh was when the shadow map was drawn
uniform sampler2DShadow shadow_map;
uniform sampler2DArray textures;
uniform sampler2D mirrored_map;
uniform sampler2D lamps_ground;
uniform sampler2D lamps_low;
uniform sampler2D lamps_way;
uniform sampler2D lamps_high;
in vec3 world;
in vec3 normal;
in vec3 albedo;
#if GROUP == 0 || GROUP == 6
in vec3 local;
#endif
#ifdef TEXTURE
in vec2 uv;
#endif
flat in int material;
layout(location = 0) out vec4 out_color;     // linear light, depth along the optical axis
layout(location = 1) out int out_instance;
"""

_SUNLIGHT = """
float sunlight(vec3 n) {
#ifdef SHADOWS
    // The offset grows where the sun grazes the surface: there one texel of the map spans more depth.
    vec3 at = (shadow_view * vec4(world + moved + n * mix(0.10, 0.03, clamp(dot(n, sun.xyz), 0.0, 1.0)), 1.0)).xyz;
    vec3 c = at * 0.5 + 0.5;
    float edge = max(abs(at.x), abs(at.y));
    // Each of the four samples of a pixel looks up another place; their mean is the soft edge.
    vec2 p = mod(floor(gl_FragCoord.xy), 2.0) - 0.5;
    vec2 offset = vec2(1.5 * p.x - 0.5 * p.y, 0.5 * p.x + 1.5 * p.y) / float(textureSize(shadow_map, 0).x);
    float lit = texture(shadow_map, vec3(c.xy + offset, c.z - 0.0006));
    return mix(lit, 1.0, max(smoothstep(0.9, 0.99, edge), step(1.0, c.z)));
#else
    return 1.0;
#endif
}
"""

_TEXTURED = """
// Distance in pixels per metre fades fine patterns before they alias.
float visible(float period, float footprint) { return clamp(period / (2.0 * footprint) - 0.5, 0.0, 1.0); }

vec3 textured(vec3 base, vec3 n, float footprint) {
    vec2 p = world.xy;
#if GROUP == 5
    float fine = (plane_noise(p * 38.0) - 0.5) * visible(0.05, footprint);
    float worn = plane_noise(p * 0.55) * 0.6 + plane_noise(p * 2.3) * 0.4 - 0.5;
    return base * (1.0 + 0.24 * fine + 0.20 * worn);
#elif GROUP == 4
    vec2 slab = p / 0.6;
    slab.x += 0.5 * mod(floor(slab.y), 2.0);
    vec2 gap = abs(fract(slab) - 0.5) * 2.0;
    float joint = smoothstep(0.93, 0.985, max(gap.x, gap.y)) * visible(0.12, footprint);
    float tone = hash(ivec3(floor(slab), 3)) - 0.5;
    return base * (1.0 + 0.11 * tone + 0.14 * (plane_noise(p * 1.1) - 0.5)) * (1.0 - 0.36 * joint);
#elif GROUP == 3
    float blades = (plane_noise(p * 14.0) - 0.5) * visible(0.14, footprint);
    float tufts = (plane_noise(p * 3.1 + 5.0) - 0.5) * visible(0.6, footprint);
    return base * (1.0 + 0.5 * blades + 0.25 * tufts + 0.4 * (plane_noise(p * 0.7) - 0.5));
#elif GROUP == 2
    float clumps = space_noise(world * 2.1) - 0.5;
    float leaves = (space_noise(world * 8.0) - 0.5) * visible(0.26, footprint);
    // Seen edge-on a crown has gaps between its leaves, down to a ragged outline.
    float edge_on = 1.0 - abs(dot(n, normalize(eye.xyz - world)));
    if (leaves + 0.6 * clumps < 0.95 * edge_on * edge_on - 0.50) discard;
    return base * (1.0 + 0.75 * clumps + 0.95 * leaves);
#elif GROUP == 1
    float along = abs(n.z) > 0.7 ? p.x : dot(p, normalize(vec2(-n.y, n.x) + 1e-6));
    float height = abs(n.z) > 0.9 ? p.y : world.z;
    float stain = plane_noise(vec2(along * 0.8, height * 0.35)) - 0.5;
    vec3 plaster = base * (1.0 + 0.14 * stain + 0.06 * (plane_noise(vec2(along, height) * 6.0) - 0.5));
    vec2 brick = vec2(along / 0.25, height / 0.085);
    brick.x += 0.5 * mod(floor(brick.y), 2.0);
    vec2 gap = abs(fract(brick) - 0.5) * 2.0;
    float near = visible(0.085, footprint);
    float joint = max(smoothstep(0.90, 0.96, gap.x), smoothstep(0.74, 0.86, gap.y)) * near;
    float tone = (hash(ivec3(floor(brick), 5)) - 0.5) * near;
    vec3 wall = base * (1.0 + 0.28 * tone + 0.16 * stain);
    return material == 9 ? mix(wall, vec3(0.42, 0.39, 0.35), 0.55 * joint) : plaster;
#else
    // Nothing outdoors has one even colour: faded and, near the ground, dusty; each object to another degree.
    float patchy = plane_noise(local.xz * 2.1 + local.y * vec2(1.3, 0.7));
    base *= 0.93 + 0.14 * patchy;
    float dusty = instance > 0 ? 0.55 * hash(ivec3(instance, 5, 1)) : 0.0;
    return mix(base, vec3(0.17, 0.15, 0.12), dusty * patchy * smoothstep(0.9, 0.1, local.z));
#endif
}
"""

_SURROUNDINGS = """
// Octahedral map of all directions.
vec2 unfolded(vec3 d) {
    d /= abs(d.x) + abs(d.y) + abs(d.z);
    vec2 outer = (1.0 - abs(d.yx)) * vec2(d.x < 0.0 ? -1.0 : 1.0, d.y < 0.0 ? -1.0 : 1.0);
    return 0.5 + 0.5 * (d.z < 0.0 ? outer : d.xy);
}
vec3 surroundings(vec3 direction, float blur) { return textureLod(mirrored_map, unfolded(direction), blur).rgb; }
"""

_LAMPLIGHT = """
vec3 lamplight(vec3 n) {
    vec2 at = 0.5 + 0.5 * (world.xy - lamp_middle.xy) / LAMP_HALF;
#if GROUP >= 3 && GROUP <= 5
    return texture(lamps_ground, at).rgb * max(n.z, 0.0);
#else
    vec3 way = texture(lamps_way, at).xyz;
    float even = 1.0 - min(length(way), 1.0);
    vec3 low = texture(lamps_low, at).rgb * (max(dot(n, way), 0.0) + (0.25 + 0.1 * n.z) * even + 0.04);
    vec3 high = texture(lamps_high, at).rgb * (0.4 - 0.15 * n.z);
    return mix(low, high, clamp((world.z - 1.0) / 3.0, 0.0, 1.0));
#endif
}

// What wet ground mirrors of the nearest lamps: seen at a flat angle it stretches towards the viewer.
vec3 mirrored_lamps(vec3 n, vec3 view, float gloss) {
    vec3 sum = vec3(0.0);
    int count = int(axis.w);
    for (int i = 0; i < count; i++) {
        vec3 way = lamp_at[i].xyz - world;
        float square = dot(way, way);
        way *= inversesqrt(square);
        float toward = max(dot(-way, lamp_way[i].xyz), 0.001);
        float cone = lamp_way[i].w > 0.0 ? exp2(lamp_at[i].w * log2(toward)) : 1.0;
        float peak = max(dot(n, normalize(way + view)), 0.001);
        float glare = max(cone, 0.03 * toward) * exp2(gloss * log2(peak)) * gloss * 0.04;
        sum += min(lamp_color[i].rgb * (glare / (square + 0.4)), vec3(6.0));
    }
    return sum;
}
"""

_SURFACE_MAIN = """
void main() {
    vec3 offset = world - eye.xyz;
    float away = length(offset);
    vec3 view = -offset / away;
    vec3 across = dFdx(world), down = dFdy(world);
    vec3 face = normalize(cross(across, down));
    face = dot(face, view) < 0.0 ? -face : face;
    vec3 n = normalize(normal);
    n = dot(n, face) < 0.0 ? -n : n;
    float footprint = max(length(across), length(down));

    vec3 base = albedo;
#ifdef TEXTURE
    if (uv.x > -0.99) base *= pow(texture(textures, vec3(uv, float(layer))).rgb, vec3(2.2));
#endif
    base = textured(base, n, footprint);
#if GROUP == 2
    vec3 q = world * 3.3;
    n = normalize(n + 1.1 * (vec3(space_noise(q), space_noise(q + 17.0), space_noise(q + 31.0)) - 0.5));
#endif
    float wet = 0.0;
#if defined(WET) && (GROUP == 4 || GROUP == 5)
    // Water stands in hollows and runs off what is high.
    float hollow = smoothstep(0.40, 0.62, 0.7 * plane_noise(world.xy * 0.33) + 0.3 * plane_noise(world.xy * 1.3 + 9.0));
    wet = fog_color.w * mix(0.35, 1.0, hollow) * smoothstep(0.6, 0.95, n.z);
    base *= mix(1.0, 0.50, sqrt(wet));
#endif
    float facing = dot(n, sun.xyz);
    float lit = facing > 0.0 ? sunlight(n) : 0.0;
    float direct = max(facing, 0.0) * lit;
#if GROUP == 2
    direct = mix(direct, 0.45 * lit + 0.12, 0.45);
#endif
    vec3 ambient = mix(ambient_ground.rgb, ambient_sky.rgb, n.z * 0.5 + 0.5);
    // Little sky reaches the foot of walls and the undersides of things.
    ambient *= mix(0.62, 1.0, smoothstep(0.0, 1.1, world.z + 1.1 * max(n.z, 0.0)));
    vec3 light = ambient + sun_color.rgb * direct;
#ifdef LAMPS
    light += lamplight(n);
#endif
    vec3 color = base * light;

    float slope = 1.0 - max(dot(n, view), 0.0);
    float edge_on = slope * slope * slope * slope * slope;
    vec3 bounce = reflect(-view, n);
    float glint = max(dot(bounce, sun.xyz), 0.0);
#if GROUP == 0
    if (material == 3) color = base * (0.63 * max(ambient_sky.rgb, vec3(0.2)) + light + 3.0 * ambient_sky.w);
#elif GROUP == 6
    vec3 mirror = surroundings(bounce, 0.0);
    vec3 shine = sun_color.rgb * lit;
    if (material == 1) {
        color = mix(color, mirror, 0.05 + 0.55 * edge_on);
        color += shine * (0.45 * pow(glint, 90.0) + 0.06 * pow(glint, 12.0));
    } else if (material == 2) {
        color = mix(color * 0.5, mirror, 0.28 + 0.66 * edge_on) + shine * 0.8 * pow(glint, 160.0);
#ifdef WINDOWS
        // Panes of buildings: some have light behind them, all at once for one room.
        float height = world.z / 2.9, turn = 0.37 * (world.x + world.y), side = 0.37 * (world.x - world.y);
        ivec3 room = ivec3(floor(vec3(turn, side, height)));
        float on = instance == 0 ? step(hash(room), ambient_ground.w) : 0.0;
        vec3 inside = mix(vec3(1.0, 0.62, 0.30), vec3(0.90, 0.92, 1.0), step(0.7, hash(room.zxy)));
        color += on * inside * (0.25 + 0.5 * hash(room.yzx)) * (0.6 + 0.4 * fract(height));
#endif
    } else {
        color = mix(color, mirror, 0.18 + 0.4 * edge_on) + shine * 0.25 * pow(glint, 30.0);
    }
#elif GROUP == 4 || GROUP == 5
    color += sun_color.rgb * lit * 0.05 * pow(glint, 8.0);
#ifdef WET
    color = mix(color, surroundings(bounce, 3.0), wet * (0.03 + 0.72 * edge_on));
    color += sun_color.rgb * lit * wet * (0.2 + 1.6 * edge_on) * pow(glint, 60.0);
#ifdef LAMPS
    color += mirrored_lamps(n, view, mix(8.0, 220.0, wet)) * 0.35 * wet * (0.12 + edge_on);
#endif
#endif
#endif
    color = mix(fog_color.rgb, color, exp(-horizon.w * away));
    out_color = vec4(color, dot(offset, axis.xyz));
    out_instance = instance;
}
"""


def surface_programs(group: int, features: frozenset[str]) -> tuple[str, str]:
    """Return the vertex and the fragment program that shade the materials of `GROUPS[group]`.

    Args:
        features: of ``SHADOWS``, ``LAMPS``, ``WINDOWS`` (that are lit), ``WET`` (ground) and ``TEXTURE``.
    """
    head = f"{HEAD}#define GROUP {group}\n" + "".join(f"#define {name}\n" for name in sorted(features))
    parts = (BLOCKS, NOISE, SKY_COLOR, _SURFACE_INPUTS, _SUNLIGHT, _TEXTURED, _SURROUNDINGS, _LAMPLIGHT)
    return head + _SURFACE_VERTEX, head + "".join(parts) + _SURFACE_MAIN

"""Words for the photographic edits, one `Look` each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """Words for one photographic edit, each a list separated by ` | `.

    `adjectives` fit "make it …", `looks` fit "give it a … look", `verbs` fit "… the photo", `into` fits
    "turn it into …", `sentences` stand alone and may hold `{it}`. `held_out` are never used in training.
    """

    adjectives: tuple[str, ...]
    looks: tuple[str, ...]
    verbs: tuple[str, ...]
    into: tuple[str, ...]
    sentences: tuple[str, ...]
    held_out: tuple[str, ...]


def _look(*lists: str) -> Look:
    return Look(*(tuple(" ".join(words.split()).split(" | ")) for words in lists))


LOOKS: dict[str, Look] = {
    "grayscale": _look(
        """black and white | grayscale | greyscale | gray | grey | monochrome | black-and-white | b&w | colorless |
        colourless""",
        "black and white | grayscale | greyscale | monochrome | gray | grey | b&w | noir",
        "desaturate | decolorize | monochrome",
        """black and white | grayscale | greyscale | monochrome | shades of gray | a black and white photo | a
        grayscale image | a black and white picture | gray | b&w | a monochrome picture""",
        """remove the color from {it} | remove all the colors | take the color out of {it} | drain the colors | strip
        away the color | no color | get rid of the colors | remove all colour | only gray tones | show {it} without
        color | make it look like an old black and white film | take away all colors""",
        """turn this photo grayscale | make it black and white | I want a black and white version of this photo | could
        you remove all the color from this picture""",
    ),
    "sepia": _look(
        "sepia | sepia toned | old-timey | antique | brownish | sepia brown",
        """sepia | antique | old photo | nineteenth century | brown vintage | sepia tone | western | old-time | antique
        brown""",
        "sepia tone | antique | age",
        """sepia | an old sepia photo | an antique photo | a sepia picture | sepia tones | an old brown photograph | a
        photo from the 1800s""",
        """make {it} look like an old photograph | make {it} look very old | make {it} look a hundred years old | tint
        {it} brown like an old photo | make {it} look like grandma's old photo | old sepia photograph | make {it}
        look antique | add a brown tint | apply a brown old-time tint""",
        """apply a sepia tone | make it look like an old sepia photo | give the picture an antique sepia look | turn
        this image sepia please""",
    ),
    "warmer": _look(
        """warmer | warm | golden | more golden | warmer in tone | more orange | cozy and warm | a bit warmer | sunnier
        and warmer""",
        """warm | golden | sunset | warm sunset | golden hour | warmer | autumn | candlelight | cozy warm | warm orange
        | sunrise""",
        "warm up | warm",
        "a warm picture | a golden hour photo | a sunset photo | warm tones | golden tones",
        """add warmth | add more warmth to {it} | warm up the colors | make the colors warmer | make the tones warm |
        add a warm sunset tone | raise the color temperature | warm up the white balance | add a golden glow | make
        {it} look like sunset | make {it} look like golden hour | add some orange warmth | warm the tones up""",
        """give it a warm sunset tone | make it warmer | make this photo feel warm and golden | could you warm up the
        colors in this picture""",
    ),
    "cooler": _look(
        "cooler | cool | cold | colder | icy | bluish | more blue | bluer | a bit cooler | wintry | chilly",
        "cool | cold | icy | cold blue | winter | cool blue | blue | arctic | frosty | cooler | wintry",
        "cool down | cool | chill",
        "a cold picture | cool tones | blue tones | an icy photo | a winter photo | cold tones",
        """add a cold blue tone | cool down the colors | make the colors cooler | make the tones cold | lower the color
        temperature | cool the white balance | add a blue tint | make {it} feel like winter | make {it} feel cold |
        shift the colors to blue | add a cool blue cast""",
        """give it a cool blue tone | make it cooler | make this photo look cold and icy | could you cool the colors of
        this picture down""",
    ),
    "brighter": _look(
        """brighter | lighter | a bit brighter | much brighter | more bright | bright | well lit | less dark | a little
        lighter""",
        "brighter | bright | lighter | high key | well lit | sunlit",
        """brighten | lighten | brighten up | lighten up | light up | illuminate | raise the exposure of | increase the
        brightness of | overexpose""",
        "a brighter picture | a brighter photo | a brighter version | a lighter version",
        """increase the brightness | more light | add more light | raise the exposure | turn up the brightness | it is
        too dark | the photo is too dark, fix it | lift the shadows | more brightness | boost the brightness | up
        the exposure | let there be more light""",
        "make it brighter | brighten the picture | can you lighten this photo a bit | add more light to the image",
    ),
    "darker": _look(
        "darker | a bit darker | much darker | dimmer | less bright | dark | more dark | a little darker | dim",
        "darker | dark | low key | dim | dimmer | underexposed | gloomy",
        "darken | dim | lower the exposure of | reduce the brightness of | decrease the brightness of | underexpose",
        "a darker picture | a darker photo | a darker version | a dim photo",
        """decrease the brightness | reduce the brightness | less light | lower the exposure | turn down the brightness
        | it is too bright | the photo is too bright, fix it | deepen the shadows | less brightness | turn the
        lights down | lower the brightness""",
        "make it darker | darken the picture | can you dim this photo a bit | reduce the light in the image",
    ),
    "night": _look(
        """look like night | night | nighttime | look like midnight | moonlit | look like it was taken at night | look
        nocturnal""",
        "night | nighttime | moonlight | midnight | moonlit | nocturnal | night scene | day for night",
        "night shift | moonlight",
        "night | a night scene | nighttime | a night photo | midnight | the middle of the night | a moonlit scene",
        """turn day into night | make {it} look like night | change the time to night | change the time of day to night
        | show {it} at night | set {it} at midnight | as if taken at night | make it night time | in the moonlight |
        make {it} look like it was shot at night | what would it look like at night | change day to night""",
        "turn it into night | make it look like night | make this a night scene | change the photo to nighttime",
    ),
    "faded": _look(
        "faded | washed out | matte | pale | paler | washed-out | less saturated | muted | dull | hazy",
        "faded | washed out | matte | pale | muted | dusty | retro faded | pastel | hazy | soft faded | film fade",
        "fade | wash out | mute | fade out",
        "a faded picture | a washed out photo | a faded polaroid | a faded photo | faded tones | pastel tones",
        """fade the colors | wash out the colors | make the colors faded | mute the colors | make the colors pale |
        make {it} look faded by the sun | lower the saturation and contrast | less saturation | make the colors
        weaker | soften the colors | make the colors dull""",
        """make it faded | give it a washed out look | fade the colors of this photo | give the picture a pale matte
        look""",
    ),
    "vivid": _look(
        """vivid | more vivid | more colorful | colorful | more colourful | vibrant | more vibrant | saturated | more
        saturated | punchier | richer""",
        "vivid | vibrant | saturated | colorful | colourful | rich color | high saturation | punchy | pop",
        """saturate | oversaturate | boost the colors of | enrich | boost the saturation of | increase the saturation
        of""",
        "a vivid picture | a vibrant photo | a colorful picture | a more colorful version | vivid colors",
        """boost the colors | boost the saturation | increase the saturation | make the colors pop | make the colors
        vivid | more saturation | more color | make the colors stronger | make the colors more intense | stronger
        colors | make the colors vibrant | intensify the colors | turn up the saturation | enhance the colors |
        richer colors""",
        """make the colors vivid | boost the saturation of this photo | make it more vibrant and colorful | can you
        make the colors pop in this picture""",
    ),
    "contrast": _look(
        """more contrasty | higher contrast | high contrast | contrasty | more contrasted | harder in contrast |
        stronger in contrast""",
        """high contrast | higher contrast | contrasty | strong contrast | hard contrast | dramatic contrast | bold
        contrast""",
        """increase the contrast of | boost the contrast of | raise the contrast of | add contrast to | strengthen the
        contrast of""",
        "a high contrast picture | a high contrast photo | a contrasty version | a higher contrast version",
        """increase the contrast | add contrast | add more contrast | more contrast | boost the contrast | raise the
        contrast | turn up the contrast | stronger contrast | the contrast is too low | make the contrast stronger |
        it looks flat, add contrast | enhance the contrast | higher contrast""",
        """increase the contrast | add more contrast to this photo | give it a high contrast look | could you boost the
        contrast of the image""",
    ),
    "negative": _look(
        """negative | inverted | look like a negative | look like an x-ray | color inverted |
        look like a film negative""",
        "negative | inverted | film negative | inverted color | x-ray | color negative",
        "invert | negate | invert the colors of | reverse the colors of | flip the colors of",
        """a negative | a film negative | a photo negative | its negative | an inverted picture | a photographic
        negative""",
        """invert the colors | invert all colors | reverse the colors | swap the colors for their opposites | flip the
        colors | use the opposite colors | show the negative | invert every color | color inversion | complementary
        colors""",
        "invert the colors | make it a negative | turn this photo into a negative | could you invert the picture",
    ),
    "vignette": _look(
        """vignetted | dark at the edges | darker at the edges | dark in the corners | darker in the corners | darker
        around the edges | shaded at the edges""",
        """vignette | vignetted | dark corner | dark edge | soft vignette | dark border | shaded corner | spotlight |
        peephole""",
        """vignette | add a vignette to | put a vignette on | darken the edges of | darken the corners of | shade the
        corners of | darken the borders of""",
        "a vignetted picture | a vignetted photo | a picture with dark corners | a photo with dark edges",
        """add a vignette | add a dark vignette | add vignetting | darken the edges | darken the corners | darken the
        borders | shade the corners | fade the edges to black | only keep the center bright | draw the eye to the
        center | put the center in the spotlight | dark corners | make the corners darker | make the edges darker""",
        """add a vignette to this photo | make the corners of the picture dark | I want dark edges around the image |
        give it a soft vignette""",
    ),
    "blur": _look(
        """blurry | blurred | more blurred | out of focus | unsharp | less sharp | a bit blurry | softly blurred |
        defocused | fuzzy""",
        "blurred | blurry | soft focus | out of focus | defocused | fuzzy | gaussian blur | unsharp",
        "blur | defocus | unsharpen | gaussian blur | take the sharpness out of | remove the details of",
        "a blurry picture | a blurred photo | a blur | an out of focus photo | a defocused picture | soft focus",
        """blur everything | add blur | add a blur | apply a gaussian blur | take {it} out of focus | put {it} out of
        focus | throw {it} out of focus | reduce the sharpness | less sharpness | make {it} look out of focus |
        lose the details | smear the details | make the details blurry | soften the focus""",
        """blur this photo | make the picture look out of focus | could you blur the whole image | give it a soft focus
        look""",
    ),
}

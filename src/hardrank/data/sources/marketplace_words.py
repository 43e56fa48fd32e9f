"""The words of the generated marketplace: topics, concepts and their synonyms."""

__all__ = ["BRANDS", "COLOURS", "PLACES", "STYLES", "TOPICS"]


def _table(text: str) -> dict[str, tuple[tuple[str, ...], ...]]:
    """`topic: synonym, synonym; synonym, ... .`, a full stop after each topic."""
    rows = (topic.split(":") for topic in " ".join(text.split()).removesuffix(".").split("."))
    return {
        topic.strip(): tuple(
            tuple(word.strip() for word in concept.split(",")) for concept in concepts.split(";")
        )
        for topic, concepts in rows
    }


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


TOPICS = _table("""
hiking: boots, trekking shoes, mountain footwear; backpack, rucksack, knapsack; tent, bivouac
shelter, camping canopy; sleeping bag, down quilt, bedroll; rain jacket, waterproof anorak,
hooded parka; trekking poles, walking sticks, hiking staffs; headlamp, forehead torch,
head-mounted flashlight; water bottle, canteen, drinking flask; compass, orienteering navigator,
bearing finder.
coffee: espresso machine, coffee maker, cappuccino maker; coffee beans, arabica roast,
whole-bean blend; coffee grinder, burr mill, bean crusher; travel mug, thermos cup, insulated
tumbler; milk frother, foam whisk, latte steamer; french press, cafetiere, plunger pot; paper
filters, pour-over cones, drip liners; coffee capsules, espresso pods, single-serve cartridges.
skincare: moisturiser, face cream, hydrating lotion; sunscreen, sunblock, spf lotion; cleanser,
face wash, foaming soap; serum, vitamin ampoule, skin elixir; lip balm, lip salve, chapped-lip
ointment; face mask, clay pack, sheet treatment; exfoliant, peeling scrub, gommage; toner,
facial mist, rosewater spray; eye cream, under-eye gel, dark-circle concealer.
cycling: bicycle helmet, cycling headgear, bike hard hat; bike lock, chain padlock, cycle
shackle; cycling jersey, riding shirt, biker top; inner tube, tyre liner, puncture-proof tire;
saddle, bike seat, bicycle cushion; bike pump, tyre inflator, compressed-air pump; pedals, clip
cranks, foot cleats; handlebar grips, bar tape, steering wraps; bike light, rear lamp, bicycle
beacon.
gaming: gaming keyboard, mechanical keypad, clicky keys; gaming mouse, laser pointer device,
esports mouse; controller, gamepad, joystick; gaming headset, microphone headphones, chat
earpiece; gaming chair, racing recliner, swivel throne; monitor, curved display, high-refresh
screen; video game, console title, adventure cartridge; graphics card, gpu accelerator, video
adapter.
gardening: garden shears, pruners, secateurs; watering can, sprinkler jug, irrigation pitcher;
plant pot, flower planter, terracotta vase; flower seeds, wildflower mix, blossom bulbs;
compost, potting soil, fertiliser; garden gloves, weeding mitts, thorn-proof handwear; spade,
digging shovel, trowel; garden hose, lawn sprinkler, yard pipe; greenhouse, seedling tunnel,
cold frame.
baby: stroller, pram, pushchair; nappies, diapers, infant pants; baby bottle, infant feeder,
formula flask; pacifier, soother, dummy; crib, cot bed, bassinet; bib, drool cloth, feeding
apron; baby monitor, nursery camera, infant intercom; teether, chew ring, gum soother toy;
onesie, romper, babygrow.
cooking: frying pan, skillet, saute pan; chef knife, kitchen blade, carving cleaver; saucepan,
stockpot, stew pot; cutting board, chopping block, butcher slab; blender, food processor,
smoothie mixer; baking tray, oven sheet, cake tin; spice rack, seasoning set, herb jars;
measuring cups, kitchen scale, weighing spoons; apron, cook smock, kitchen pinafore.
office: desk lamp, reading light, table luminaire; notebook, writing journal, lined diary;
fountain pen, ballpoint, rollerball; stapler, paper fastener, staple gun; standing desk,
height-adjustable table, sit-stand workstation; document folder, ring binder, filing wallet;
sticky notes, memo pads, adhesive reminders; desk organiser, stationery tray, pencil holder.
pets: dog food, puppy kibble, canine meal; cat litter, kitty sand, clumping granules; dog leash,
walking lead, pet harness; cat tree, scratching post, feline tower; pet bed, dog basket, animal
cushion; chew toy, tug rope, squeaky bone; aquarium, fish tank, goldfish bowl; bird cage, parrot
perch, budgie aviary; flea collar, tick repellent, parasite drops.
audio: headphones, earphones, earbuds; loudspeaker, bluetooth speaker, boombox; turntable,
record player, vinyl deck; microphone, condenser mic, vocal recorder; amplifier, stereo
receiver, power amp; soundbar, home-theatre bar, tv speaker; guitar, acoustic six-string,
ukulele; digital piano, synthesizer, electric organ.
yoga: yoga mat, exercise rug, stretching pad; yoga block, foam brick, cork support; resistance
band, elastic strap, stretch loop; leggings, workout tights, training pants; foam roller,
massage log, muscle cylinder; meditation cushion, zafu pillow, sitting bolster; dumbbells, hand
weights, kettlebell; sports bra, support crop top, fitness bralette.
""")
"""Topic -> concepts -> synonyms. Synonyms of one concept hardly share a word, so that a
model that knows English sees a likeness which word counts cannot."""

PLACES = {
    "hiking": "mountain trails",
    "coffee": "the morning brew",
    "skincare": "a daily beauty routine",
    "cycling": "road and gravel rides",
    "gaming": "long evenings of play",
    "gardening": "balcony and backyard",
    "baby": "newborns and toddlers",
    "cooking": "the home kitchen",
    "office": "work and study",
    "pets": "happy animals at home",
    "audio": "music lovers",
    "yoga": "studio and home practice",
}

STYLES = (
    ("budget", "affordable", "low-cost"),
    ("premium", "luxury", "high-end"),
    ("compact", "mini", "space-saving"),
    ("eco-friendly", "sustainable", "recycled"),
    ("classic", "vintage", "retro"),
    ("professional", "pro-grade", "heavy-duty"),
)
"""Sub-styles, across all topics."""

COLOURS = _words("grey black navy white red olive teal sand violet amber coral mint")

BRANDS = _words("""
Norvik Talmoor Quenby Ardesco Velmar Brindow Ostrella Pexwell Zorlin Hathmere Lumaro Kestwin
Draymoor Fenwicka Solvane Tirrell Maplune Corvanta Elowick Rundale Sabrine Wexlow Jorvale
Ippling Caldrin Mirento Vossany Thornby Ulmara Grentham Pallisk Yarrowen Bexley Ondrava
Farlund Nimbray
""")
"""Invented; three a topic."""

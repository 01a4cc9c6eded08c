"use strict";

// Shades for weights, the same as in pictures; on dark paper from dark to light.

const LIGHT = [[246, 249, 245], [208, 233, 207], [132, 204, 190], [62, 152, 184], [46, 88, 156], [52, 24, 88]];
const DARK = [[30, 32, 42], [38, 58, 104], [40, 104, 156], [58, 160, 168], [138, 212, 166], [240, 249, 214]];
const LEVELS = 256;

/** The colour of each level from 0 to 255, and the ink that is readable on it. */
function mixRamp(dark) {
  const anchors = dark ? DARK : LIGHT, colours = [], inks = [];
  const luminance = (rgb) => rgb.map((c) => (c /= 255, c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  for (let i = 0; i < LEVELS; i++) {
    const place = (i / (LEVELS - 1)) * (anchors.length - 1), below = Math.min(Math.floor(place), anchors.length - 2);
    const rgb = anchors[below].map((c, k) => Math.round(c + (anchors[below + 1][k] - c) * (place - below)));
    colours.push(`rgb(${rgb.join()})`);
    inks.push(luminance(rgb) > 0.179 ? "#000" : "#fff"); // whichever contrasts more
  }
  return { colours, inks };
}

/** Paint the levels from left to right on a canvas. */
function paintRamp(canvas, colours) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    context.fillStyle = colours[Math.round((x / (canvas.width - 1)) * (LEVELS - 1))];
    context.fillRect(x, 0, 1, canvas.height);
  }
}

// ---- Weights as Python writes them: quantized.py --------------------------------------------------------------

function bytes(base64) {
  return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
}

/** Levels, row by row, and for each row the weight of one level. */
function matrix({ levels, scales }) {
  return { levels: bytes(levels), scales: new Float32Array(bytes(scales).buffer) };
}

const percent = (share) => (100 * share).toFixed(share < 0.0995 ? 1 : 0) + "%";

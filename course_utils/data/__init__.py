"""Data sets of the course: a catalog, one package that fetches, and loaders."""

from course_utils.data.fashion_mnist import (
    FASHION_MNIST_CLASSES,
    load_fashion_mnist,
    load_garment_vectors,
)
from course_utils.data.imdb import load_imdb
from course_utils.data.movielens import load_movielens
from course_utils.data.news import NEWS_DESKS, load_news
from course_utils.data.photos import load_photo_credits, load_photos
from course_utils.data.pretrained import (
    decode_predictions,
    load_glove,
    load_mobilenet_v2,
    scale_pixels,
)
from course_utils.data.reuters import load_reuters, reuters_topics
from course_utils.data.sentences import encode_sentences, load_sentence_encoder
from course_utils.data.surnames import load_surnames, romanise, surname_nationalities
from course_utils.data.word_pairs import load_analogies, load_word_pairs

__all__ = [
    "FASHION_MNIST_CLASSES",
    "NEWS_DESKS",
    "decode_predictions",
    "encode_sentences",
    "load_analogies",
    "load_fashion_mnist",
    "load_garment_vectors",
    "load_glove",
    "load_imdb",
    "load_mobilenet_v2",
    "load_movielens",
    "load_news",
    "load_photo_credits",
    "load_photos",
    "load_reuters",
    "load_sentence_encoder",
    "load_surnames",
    "load_word_pairs",
    "reuters_topics",
    "romanise",
    "scale_pixels",
    "surname_nationalities",
]

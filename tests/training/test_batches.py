from inhouse.training.batches import epoch_batches


def test_every_row_comes_once_an_epoch():
    batches = epoch_batches([5] * 103, 8, seed=1, epoch=0)

    assert sorted(index for batch in batches for index in batch) == list(range(103))


def test_epochs_differ_and_repeat_with_their_seed():
    lengths = list(range(100))

    assert epoch_batches(lengths, 8, seed=1, epoch=0) == epoch_batches(lengths, 8, seed=1, epoch=0)
    assert epoch_batches(lengths, 8, seed=1, epoch=0) != epoch_batches(lengths, 8, seed=1, epoch=1)


def test_rows_of_a_batch_have_similar_lengths():
    lengths = [i % 50 for i in range(400)]

    batches = epoch_batches(lengths, 8, seed=1, epoch=0)

    assert max(max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in batches) <= 1

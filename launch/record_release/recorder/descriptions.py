"""Descriptions of all arrays of a recording, for the manifest."""

import re
from typing import Dict

_BATCH = {
  'input_ids': 'token ids with [CLS] and [SEP]',
  'position_ids': 'positions of the text',
  'img_feat': 'region features',
  'img_pos_feat': 'boxes x1 y1 x2 y2 w h w*h',
  'attn_masks': '1 = real, text and regions',
  'gather_index': 'where each joint position comes from',
}

_FORWARD = {
  'txt_lens': 'true text lengths, [CLS] and [SEP] included',
  'num_bbs': 'true numbers of regions',
  'text_embedding': '[B,Tmax,H] output of the text embedding',
  'image_embedding': '[B,Rmax,H] output of the image embedding, padding '
  'included',
  'joint_embedding': '[B,S,H] rows of both taken with gather_index',
  'hidden': '[B,S,H] output of encoder layer k, from 0',
  'pooled': '[B,H] tanh(dense(hidden_last[:,0]))',
  'rank_scores': '[B,1] raw matching logits',
  'rank_scores_sigmoid': '[B,1] their sigmoid',
  'itm_logits': '[B,2] itm_output(pooled)',
  'mlm_logits': '[B,Tmax,V] cls head on hidden_last[:, :Tmax]',
  'disc_probs': '[B,Tmax,2] softmax(disc_output) on the same',
  'correction_logits': '[B,Tmax,V] correction_output on the same',
  'img_masks': 'regions that image_embedding_masked masks',
  'image_embedding_masked': 'image embedding with mask_embedding added there',
  'text_only_mask': '1 = real text',
  'image_only_mask': '1 = real region',
  'text_only_hidden': 'last layer, text alone',
  'image_only_hidden': 'last layer, regions alone',
  'layernorm_in': 'tiny input: shows the epsilon',
  'layernorm_out': 'embeddings.LayerNorm of it',
  'gelu_in': '-5 to 5',
  'gelu_out': 'gelu of it',
}

_CHOICE = {
  'selected_in_order': 'rows selected, as topk(sorted=False) gave them',
  'selected_sorted': 'the same, sorted',
  'rank_loss': '[1,h] max(0, margin + sigmoid(neg) - sigmoid(pos)), in the '
  'order of the selection',
  'rank_loss_mean': 'its mean',
  'rank_corrects': '[1,h] 1 where sigmoid(neg) <= sigmoid(pos)',
  'boundary_gap': 'score of the last selected - of the first unselected row',
  'hinge_min_abs': 'smallest |margin + sigmoid(neg) - sigmoid(pos)|',
}

_HARD = {
  'scores': '[N,1] raw logits of all rows, row 0 the positive',
  'trimmed_attn_masks': 'mask of the training pass',
  'trimmed_img_feat_shape': 'shape of img_feat in the training pass',
  'sigmoid_scores_second_pass': '[1+h] positive, then the selected rows',
}

_SYNTHETIC = {
  'mlm_input_ids': '[M,T] masked captions',
  'mlm_txt_labels': '[M,T] token at masked positions, -1 elsewhere',
  'mlm_position_ids': '[M,T]',
  'mlm_attn_masks': '[M,S] all ones',
  'mlm_gather_index': '[M,S]',
  'input_dict': 'token ids of all captions of the image, without [CLS] and '
  '[SEP], one after the other',
  'rank_output_scale': '1: the matching head is that of the checkpoint',
  'fill_input_ids': '[M*K,T] sampled captions, row m*K+k',
  'c1_penalty': '[1+M*K] 3 where the row equals the caption (row 0 does)',
  'c2_penalty': '[1+M*K] 2 where an equal row comes later',
  'penalized_scores': '[1+M*K] score - c1 - c2 (row 0 as released); the '
  'best of [1:] are selected',
  'selected_indices': 'rows selected, best first, of the 1+M*K',
  'selected_indices_sorted': 'the same, sorted',
  'selected_input_ids': '[h,T] selected captions',
  'effect_num': 'rows of the 1+M*K without penalty',
  'masked_lm_loss': 'cross-entropy of each masked token, row by row',
  'masked_lm_loss_mean': 'its mean',
  'mlm_corrects': '1 where the arg-max is the label',
  'positive_gather_index': '[S] gather index of row 0',
  'raw_scores': '[1+M*K,1] raw logits',
  'sigmoid_scores': 'their sigmoid',
}

_WORDS = {
  'rank_adv_scores': '[1+h] sigmoid of the positive, penalized sigmoid of '
  'the selected rows',
  'syn_txt_labels': '[h,T] labels of the masked copy that a row came from',
  'disc_labels': '[h,T] 1 = same token as the caption, 0 = replaced',
  'disc_p': '[h,T,2] probabilities',
  'disc_loss': '[h*T] weight[label] * -log(max(p[label], 1e-10))',
  'disc_loss_mean': 'plain mean over h*T',
  'disc_pos_corrects': 'right where the label is 1',
  'disc_pos_samples': 'labels that are 1',
  'disc_neg_corrects': 'right where the label is 0',
  'disc_neg_samples': 'labels that are 0',
  'disc_corrects': 'right in all',
  'disc_samples': 'h*T',
  'correction_loss': '-log(max(softmax(logits)[token], 1e-10)) where '
  'syn_txt_labels is not -1, row by row',
  'correction_loss_mean': 'its mean',
  'correction_corrects': '1 where the arg-max is the token',
  'correction_texts': '[h,T] arg-max at every position',
  'all_correction_corrects': '[h,T-2] arg-max == caption, without the ends',
}

_EVALUATION = {
  'scores_f32': '[captions,images] raw logits, own matching head',
  'scores_f16': 'the float16 scores that the release ranks',
  'evaluate': 'recalls, in the order of results',
  'result': 'recalls of inf_nsgd.py, which sets the matching head to row 1 '
  'of itm_output',
}

# File -> last part of a key -> description; hidden_k is listed as hidden.
_FILES: Dict[str, Dict[str, str]] = {
  'forward.npz': dict(_BATCH, **_FORWARD),
  'hard_negatives.npz': dict(_BATCH, **dict(_CHOICE, **_HARD)),
  'synthetic_stage1.npz': dict(_BATCH, **dict(_CHOICE, **_SYNTHETIC)),
  'synthetic_stage2.npz': dict(
    _BATCH, **dict(_CHOICE, **dict(_SYNTHETIC, **_WORDS))
  ),
  'evaluation.npz': _EVALUATION,
}


def describe(file_name: str, key: str) -> str:
  """Returns the description of an array.

  Args:
    file_name: for instance `forward.npz`.
    key: name in the file, for instance `f64/hidden_3`.
  Raises:
    KeyError: for a name that does not occur in recordings.
  """
  name = re.sub(r'^hidden_\d+$', 'hidden', key.split('/')[-1])
  text = _FILES[file_name][name]
  if key.startswith('f64/'):
    text += '; in float64 arithmetic from the same float32 weights'
  return text
